import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.retry.RetryForever;
import org.apache.zookeeper.CreateMode;

/** Recipes.java HOSTS: recipes of Apache Curator before and after a line on standard input. */
public class Recipes {
    static final int PATIENCE_S = 20;

    final CuratorFramework first;
    final CuratorFramework second;
    final ExecutorService threads = Executors.newCachedThreadPool();

    Recipes(String hosts) throws Exception {
        first = client(hosts);
        second = client(hosts);
    }

    public static void main(String[] args) throws Exception {
        new Recipes(args[0]).run();
        System.exit(0);
    }

    static CuratorFramework client(String hosts) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.newClient(hosts, 15_000, 10_000, new RetryForever(100));
        client.start();
        check(client.blockUntilConnected(PATIENCE_S, TimeUnit.SECONDS), "no connection");
        return client;
    }

    void run() throws Exception {
        LeaderLatch one = new LeaderLatch(first, "/latch", "one");
        LeaderLatch two = new LeaderLatch(second, "/latch", "two");
        one.start();
        check(one.await(PATIENCE_S, TimeUnit.SECONDS), "no leader");
        two.start();
        until(() -> participants(two) == 2, "two participants");
        check(!two.hasLeadership(), "two leaders");
        say("latch");

        Set<String> seen = new ConcurrentSkipListSet<>();
        CuratorCache cache = CuratorCache.build(second, "/tree");
        cache.listenable().addListener(CuratorCacheListener.builder()
                .forCreates(data -> seen.add("+" + data.getPath()))
                .forChanges((before, after) -> seen.add("=" + after.getPath() + " " + new String(after.getData())))
                .forDeletes(data -> seen.add("-" + data.getPath()))
                .build());
        cache.start();
        // One change at a time: a cache shows the last of several at once.
        first.create().creatingParentsIfNeeded().forPath("/tree/a/b", "1".getBytes());
        until(() -> seen.containsAll(List.of("+/tree", "+/tree/a", "+/tree/a/b")), "the cache sees what is new");
        first.setData().forPath("/tree/a/b", "2".getBytes());
        until(() -> seen.contains("=/tree/a/b 2"), "the cache sees a change");
        first.delete().forPath("/tree/a/b");
        until(() -> seen.contains("-/tree/a/b"), "the cache sees what is gone");
        say("cache");

        InterProcessMutex held = new InterProcessMutex(first, "/mutex");
        InterProcessMutex wanted = new InterProcessMutex(second, "/mutex");
        held.acquire();
        check(!wanted.acquire(300, TimeUnit.MILLISECONDS), "two hold the lock");
        say("mutex");

        PersistentNode node = new PersistentNode(first, CreateMode.EPHEMERAL, false, "/present", "here".getBytes());
        node.start();
        check(node.waitForInitialCreate(PATIENCE_S, TimeUnit.SECONDS), "no ephemeral");
        long session = first.getZookeeperClient().getZooKeeper().getSessionId();

        List<Future<?>> entering = bothBarriers(true);
        for (Future<?> future : entering) {
            future.get(PATIENCE_S, TimeUnit.SECONDS);
        }
        say("barrier");

        say("waiting");
        System.in.read();

        for (int number = 0; number < 10; number++) {
            first.create().forPath("/tree/after-" + number);
        }
        until(() -> seen.containsAll(List.of("+/tree/after-0", "+/tree/after-9")), "the cache sees after the fault");
        say("cache after");

        check(first.getZookeeperClient().getZooKeeper().getSessionId() == session, "the session is another one");
        check(second.checkExists().forPath("/present").getEphemeralOwner() == session, "the ephemeral is another's");
        check(held.isOwnedByCurrentThread() && !wanted.acquire(300, TimeUnit.MILLISECONDS), "the lock is lost");
        held.release();
        check(wanted.acquire(PATIENCE_S, TimeUnit.SECONDS), "the lock is not passed on");
        wanted.release();
        say("mutex after");

        until(() -> one.hasLeadership() ^ two.hasLeadership(), "one leader after the fault");
        (one.hasLeadership() ? one : two).close();
        until(() -> one.hasLeadership() ^ two.hasLeadership(), "the other leads");
        say("latch after");

        List<Future<?>> adding = new ArrayList<>();
        for (CuratorFramework client : List.of(first, second)) {
            DistributedAtomicLong counter = new DistributedAtomicLong(client, "/counter", new RetryForever(10));
            adding.add(threads.submit(() -> {
                for (int number = 0; number < 50; number++) {
                    check(counter.increment().succeeded(), "not counted");
                }
                return null;
            }));
        }
        for (Future<?> future : adding) {
            future.get(PATIENCE_S, TimeUnit.SECONDS);
        }
        long count = new DistributedAtomicLong(second, "/counter", new RetryForever(10)).get().postValue();
        check(count == 100, "counted " + count);
        say("counter after");

        for (Future<?> future : bothBarriers(false)) {
            future.get(PATIENCE_S, TimeUnit.SECONDS);
        }
        say("barrier after");
        node.close();
        cache.close();
        first.close();
        second.close();
        say("closed");
    }

    DistributedDoubleBarrier[] barriers;

    List<Future<?>> bothBarriers(boolean enter) {
        if (barriers == null) {
            barriers = new DistributedDoubleBarrier[] {
                new DistributedDoubleBarrier(first, "/barrier", 2), new DistributedDoubleBarrier(second, "/barrier", 2)
            };
        }
        List<Future<?>> futures = new ArrayList<>();
        for (DistributedDoubleBarrier barrier : barriers) {
            futures.add(threads.submit(() -> {
                if (enter) {
                    barrier.enter();
                } else {
                    barrier.leave();
                }
                return null;
            }));
        }
        return futures;
    }

    static int participants(LeaderLatch latch) {
        try {
            return latch.getParticipants().size();
        } catch (Exception error) {
            return -1;
        }
    }

    static void until(BooleanSupplier condition, String what) throws InterruptedException {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
        while (!condition.getAsBoolean()) {
            check(System.nanoTime() < end, "not so: " + what);
            Thread.sleep(20);
        }
    }

    static void check(boolean is, String otherwise) {
        if (!is) {
            throw new IllegalStateException(otherwise);
        }
    }

    static void say(String step) {
        System.out.println(step);
        System.out.flush();
    }
}
