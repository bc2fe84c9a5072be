//! From names to a certificate: an account with the authority, an order, and its challenges.

use std::net::IpAddr;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use tokio::time::timeout;

use super::cache::{Cache, SavedAccount};
use super::client::AcmeClient;
use super::error::AcmeError;
use super::settings::AcmeSettings;
use crate::certificates::{HttpChallenges, ServerCertificate};

/// Gets a certificate, and keeps it in the cache.
///
/// # Errors
/// Why there is none; what was in the cache stays.
pub(super) async fn order(
    settings: &AcmeSettings,
    cache: &Cache,
    challenges: &HttpChallenges,
) -> Result<ServerCertificate, AcmeError> {
    let all = async {
        let account = account(settings, cache, challenges).await?;
        let identifiers: Vec<Identifier> =
            settings.domains.iter().map(|own| identifier(own)).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        prove(&mut order).await?;
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&POLLS).await?;
        cache.save_certificate(&settings.directory, &chain, &key)
    };
    timeout(ORDER, all).await.unwrap_or(Err(AcmeError::Late(ORDER.as_secs())))
}

/// The account of the cache, or a new one. From then on challenges to it are answered.
async fn account(
    settings: &AcmeSettings,
    cache: &Cache,
    challenges: &HttpChallenges,
) -> Result<Account, AcmeError> {
    let client = AcmeClient::new(settings.directory_ca.as_deref())?;
    let builder = Account::builder_with_http(Box::new(client));
    let contact = settings.contact_url();
    let contacts: Vec<&str> = contact.iter().map(String::as_str).collect();
    let (account, saved) = match cache.account(&settings.directory) {
        Some(saved) => {
            let account = builder.from_credentials(copy_of(&saved)?).await?;
            if saved.contact == settings.contact {
                challenges.set_thumbprint(Some(account.key_thumbprint().to_owned()));
                return Ok(account);
            }
            account.update_contacts(&contacts).await?;
            (account, SavedAccount { contact: settings.contact.clone(), ..saved })
        }
        None => {
            // That the directory is named says so; the documentation says that.
            let new = NewAccount {
                contact: &contacts,
                terms_of_service_agreed: true,
                only_return_existing: false,
            };
            let (account, credentials) =
                builder.create(&new, settings.directory.clone(), None).await?;
            let saved = SavedAccount {
                directory: settings.directory.clone(),
                contact: settings.contact.clone(),
                thumbprint: account.key_thumbprint().to_owned(),
                credentials,
            };
            (account, saved)
        }
    };
    cache.save_account(&saved)?;
    challenges.set_thumbprint(Some(saved.thumbprint));
    Ok(account)
}

/// Credentials cannot be cloned, but written and read.
fn copy_of(saved: &SavedAccount) -> Result<instant_acme::AccountCredentials, AcmeError> {
    let written = serde_json::to_value(&saved.credentials);
    let read = written.and_then(serde_json::from_value).map_err(instant_acme::Error::from);
    Ok(read?)
}

fn identifier(domain: &str) -> Identifier {
    match domain.parse::<IpAddr>() {
        Ok(address) => Identifier::Ip(address),
        Err(_) => Identifier::Dns(domain.to_owned()),
    }
}

/// Has the authority verify all names.
async fn prove(order: &mut Order) -> Result<(), AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // One that was given a while ago may still hold.
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let domain = authorization.identifier().to_string();
        let mut challenge =
            authorization.challenge(ChallengeType::Http01).ok_or(AcmeError::NoChallenge(domain))?;
        challenge.set_ready().await?;
    }
    match order.poll_ready(&POLLS).await {
        Ok(OrderStatus::Ready) => Ok(()),
        // The reason stands with the challenge.
        Ok(_) => Err(refusal(order).await),
        Err(error) => Err(error.into()),
    }
}

/// Which name could not be verified, and why.
async fn refusal(order: &mut Order) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if let Err(error) = authorization.refresh().await {
            return error.into();
        }
        let failed = authorization.challenges.iter().find_map(|own| own.error.as_ref());
        if let Some(problem) = failed {
            let domain = authorization.identifier().to_string();
            return AcmeError::Refused { domain, why: problem.to_string() };
        }
    }
    AcmeError::Refused { domain: "a name".to_owned(), why: "it gives no reason".to_owned() }
}

/// How an order is asked for until it has changed.
const POLLS: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));
/// How long all of it may take.
const ORDER: Duration = Duration::from_secs(300);
