//! Who may do what.

use zk_core::auth::AuthConfig;

use super::error::ConfigError;
use super::values::Values;

/// The settings of authentication.
pub(super) fn of(values: &Values<'_>) -> Result<AuthConfig, ConfigError> {
    let schemes = values
        .text("enforce.auth.schemes")
        .split(',')
        .map(str::trim);
    let alg = values.text("DigestAuthenticationProvider.digestAlg");
    let config = AuthConfig {
        skip_acl: values.is_on("skipACL"),
        digest_enabled: values.is_on("DigestAuthenticationProvider.enabled"),
        digest_alg: alg.parse().expect("the catalogue names them all"),
        super_digest: values
            .word("DigestAuthenticationProvider.superDigest")
            .map(str::to_owned),
        enforce_auth_enabled: values.is_on("enforce.auth.enabled"),
        enforce_auth_schemes: schemes
            .filter(|scheme| !scheme.is_empty())
            .map(str::to_owned)
            .collect(),
        session_require_client_sasl_auth: false,
    };
    match (config.check(), values.given("enforce.auth.enabled")) {
        (Err(error), Some(property)) => {
            Err(values.refused(property, format!("is refused: {error}")))
        }
        _ => Ok(config),
    }
}
