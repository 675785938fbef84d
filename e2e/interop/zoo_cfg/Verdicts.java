import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Properties;
import org.apache.zookeeper.server.ServerConfig;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig.ConfigException;

/** Reads names of zoo.cfg files, one a line, and prints for each whether Apache ZooKeeper takes the file. */
public class Verdicts {
    public static void main(String[] args) throws Exception {
        Properties before = (Properties) System.getProperties().clone();
        BufferedReader names = new BufferedReader(new InputStreamReader(System.in));
        for (String name = names.readLine(); name != null; name = names.readLine()) {
            // Keys that the parser does not know become properties of the virtual machine.
            System.setProperties((Properties) before.clone());
            QuorumPeerConfig.setStandaloneEnabled(true);
            QuorumPeerConfig.setReconfigEnabled(false);
            QuorumPeerConfig config = new QuorumPeerConfig();
            try {
                config.parse(name);
                new ServerConfig().readFrom(config);
                System.out.println("taken");
            } catch (ConfigException | RuntimeException refusal) {
                System.out.println("refused");
            }
        }
    }
}
