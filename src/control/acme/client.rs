//! Requests to an authority, over HTTPS, each with a time and a size that it must not exceed.

use std::error::Error as StdError;
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::error::AcmeError;
use crate::certificates::provider;

/// A client of an authority.
pub(super) struct AcmeClient {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
}

impl AcmeClient {
    /// One that trusts the authorities of this file, or those of the system, for the connection itself.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn new(authorities: Option<&Path>) -> Result<Self, AcmeError> {
        let refused = |error: &dyn ToString| AcmeError::Authorities(error.to_string());
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(path) => {
                let pem = fs::read(path).map_err(|error| AcmeError::file(path, error))?;
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let certificate = certificate.map_err(|error| refused(&error))?;
                    roots.add(certificate).map_err(|error| refused(&error))?;
                }
            }
            // Some of them may be of kinds that are not known here; the others count.
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(refused(&"there is no certificate of an authority"));
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { client })
    }
}

impl HttpClient for AcmeClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let reply = self.client.request(request);
        Box::pin(async move {
            let whole = async {
                let (parts, body) = reply.await.map_err(other)?.into_parts();
                let body =
                    Limited::new(body, REPLY_BYTES_MAX).collect().await.map_err(Error::Other)?;
                Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body.to_bytes()))))
            };
            match timeout(REQUEST, whole).await {
                Ok(reply) => reply,
                Err(late) => Err(other(late)),
            }
        })
    }
}

fn other(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

const REQUEST: Duration = Duration::from_secs(30);
/// An order is a dozen requests; the next may be months away.
const IDLE: Duration = Duration::from_secs(10);
/// A chain of certificates has a few thousand.
const REPLY_BYTES_MAX: usize = 1 << 20;
