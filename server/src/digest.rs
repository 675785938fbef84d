//! `quorate digest`: the value of `superDigest`, and of ACLs of the scheme `digest`.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;
use zk_core::auth::DigestAlg;
use zk_server::Failure;

/// Arguments of `quorate digest`.
#[derive(clap::Args)]
#[command(
    after_help = "The password is the first line of standard input, so that no list of processes shows it."
)]
pub(crate) struct Digest {
    /// Name of the user.
    #[arg(default_value = "super")]
    user: String,
    /// Hash algorithm: the value of DigestAuthenticationProvider.digestAlg.
    #[arg(long, default_value = "SHA1")]
    algorithm: DigestAlg,
}

impl Digest {
    /// Reads a password and prints USER:HASH.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        if self.user.is_empty() || self.user.contains(':') {
            let text = format!("{:?} is no name of a user: a colon ends it", self.user);
            return Err(Failure::Usage(text).into());
        }
        let input = io::stdin().lock();
        if input.is_terminal() {
            write!(io::stderr(), "Password of {} (it is shown): ", self.user)?;
        }
        let line = input.lines().next().transpose();
        let password = line
            .context("cannot read standard input")?
            .unwrap_or_default();
        if password.is_empty() {
            let text = "standard input has no password".to_owned();
            return Err(Failure::Usage(text).into());
        }
        let user_password = format!("{}:{password}", self.user);
        let id = self.algorithm.id(user_password.as_bytes());
        writeln!(io::stdout(), "{id}").context("cannot print")
    }
}
