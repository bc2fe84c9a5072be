//! The page of the chat, and the requests by which it logs in and out.
//!
//! | request | reply |
//! |---|---|
//! | `GET PATH` | the page |
//! | `POST PATH?session` | who is logged in; the session is renewed |
//! | `POST PATH?login=NAME` | logs in |
//! | `POST PATH?logout` | logs out |
//!
//! The last three are answered by `{"name":NAME,"user":ID}`, with `null` for both where none is logged in.
//! The cookie is for requests of the same site only, no script can read it, and a page of another origin
//! cannot log its visitors in.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::sessions::{COOKIE, ChatSessions, LoginError, Session};
use crate::http::{
    Allow, HeaderValue, Method, OriginRule, Rejection, RequestHead, ResponseHeader, Status,
};
use crate::services::{BuiltInPage, Page, PageReply};
use crate::timer::WallTime;

/// The page, on one loop.
#[derive(Debug)]
pub struct ChatPage {
    page: BuiltInPage,
    sessions: Arc<ChatSessions>,
}

impl ChatPage {
    /// The page whose channels are served on the path `socket`.
    #[must_use]
    pub fn new(socket: &str, sessions: Arc<ChatSessions>) -> Self {
        Self { page: BuiltInPage::conversations(socket), sessions }
    }

    fn post(&self, request: &RequestHead<'_>, now: WallTime) -> Result<PageReply, Rejection> {
        let query = request.query();
        let (login, logout) = (query.value("login")?, query.value("logout")?);
        let is_asked = query.value("session")?.is_some();
        if login.is_none() && logout.is_none() && !is_asked {
            return Err(Rejection::method_not_allowed(Allow::GetAndHead));
        }
        let is_secure = check_origin(request)?;
        if logout.is_some() {
            return Ok(reply(None, Some(cookie("", 0, is_secure))));
        }
        let session = match login {
            Some(name) => Some(self.log_in(&name, now)?),
            None => self.sessions.renew(request, now),
        };
        let ttl_s = self.sessions.ttl_s();
        let cookie = session.as_ref().map(|own| cookie(&own.token, ttl_s, is_secure));
        Ok(reply(session.as_ref(), cookie))
    }

    fn log_in(&self, name: &str, now: WallTime) -> Result<Session, Rejection> {
        self.sessions.log_in(name, now).map_err(|error| match error {
            LoginError::Name(error) => Rejection::bad_request(format!("name refused: {error}")),
            LoginError::Random => Rejection::internal_error("no login is possible now"),
        })
    }
}

impl Page for ChatPage {
    fn reply(&mut self, request: &RequestHead<'_>) -> PageReply {
        self.page.reply(request)
    }

    fn answer(&mut self, request: &RequestHead<'_>, now: WallTime) -> Result<PageReply, Rejection> {
        match request.method() {
            Method::Get | Method::Head => Ok(self.reply(request)),
            Method::Other if request.method_bytes() == b"POST" => self.post(request, now),
            Method::Other => Err(Rejection::method_not_allowed(Allow::GetAndHead)),
        }
    }
}

/// Refuses a request of another site's page, and says whether this page has come by HTTPS. Browsers name the
/// origin of every POST; other programs act for themselves.
fn check_origin(request: &RequestHead<'_>) -> Result<bool, Rejection> {
    let mut is_secure = false;
    for origin in request.header_values("Origin") {
        if !OriginRule::SameHost.permits(origin, request.host()) {
            return Err(Rejection::forbidden("pages of other sites cannot log in here"));
        }
        is_secure = origin.get(..8).is_some_and(|own| own.eq_ignore_ascii_case(b"https://"));
    }
    Ok(is_secure)
}

/// The cookie (RFC 6265 section 4.1). Its token needs no quotes.
fn cookie(token: &str, ttl_s: u64, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE}={token}; Path=/; Max-Age={ttl_s}; HttpOnly; SameSite=Lax{secure}")
}

fn reply(session: Option<&Session>, cookie: Option<String>) -> PageReply {
    let body = json!({
        "user": session.map(|own| &own.user),
        "name": session.map(|own| &own.name),
    });
    let headers = [
        Some(("Cache-Control", "no-store".to_owned())),
        Some(("X-Content-Type-Options", "nosniff".to_owned())),
        cookie.map(|cookie| ("Set-Cookie", cookie)),
    ];
    let headers = headers.into_iter().flatten();
    PageReply {
        status: Status::Ok,
        content_type: HeaderValue::JSON,
        headers: headers.filter_map(|(name, own)| ResponseHeader::new(name, own).ok()).collect(),
        body: Bytes::from(body.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sessions::SessionKey;
    use super::*;
    use crate::http::parse_head;

    /// The status and body of the reply, with the cookie that it sets.
    fn ask(line: &str, headers: &str) -> (u16, String, Option<String>) {
        let sessions = ChatSessions::new(&SessionKey::from_secret("s3cret"), 100).unwrap();
        let mut page = ChatPage::new("/connection/websocket", Arc::new(sessions));
        let head = format!("{line} HTTP/1.1\r\nHost: chat.example\r\n{headers}\r\n");
        match page.answer(&parse_head(head.as_bytes()).unwrap(), WallTime(0)) {
            Ok(reply) => {
                let mut set = reply.headers.iter().filter(|own| own.name() == "Set-Cookie");
                let cookie = set.next().map(|own| own.value().to_owned());
                let body = String::from_utf8(reply.body.to_vec()).unwrap();
                (reply.status.code(), body, cookie)
            }
            Err(rejection) => (rejection.status().code(), rejection.body().to_owned(), None),
        }
    }

    #[test]
    fn a_page_logs_in_and_is_known_by_its_cookie_until_it_logs_out() {
        let (status, body, cookie) = ask("POST /?login=J%C3%BCrgen", "");
        assert!(status == 200 && body.starts_with(r#"{"name":"Jürgen","user":"#), "{body}");
        let cookie = cookie.unwrap();
        let (token, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; Max-Age=100; HttpOnly; SameSite=Lax");
        let shown = format!("Cookie: {token}\r\n");
        let (_, again, renewed) = ask("POST /?session", &shown);
        assert_eq!((again, renewed), (body, Some(cookie.clone())));
        let none = r#"{"name":null,"user":null}"#.to_owned();
        assert_eq!(ask("POST /?session", ""), (200, none.clone(), None));
        let (_, body, cookie) = ask("POST /?logout", &shown);
        assert_eq!(body, none);
        assert!(cookie.unwrap().starts_with("tidegate_chat=; Path=/; Max-Age=0;"));
    }

    #[test]
    fn pages_of_other_sites_cannot_log_in() {
        for action in ["login=ann", "logout", "session"] {
            for (origin, status) in [
                ("http://chat.example", 200),
                ("https://evil.example", 403),
                ("http://chat.example:8080", 403),
                ("null", 403),
            ] {
                let reply = ask(&format!("POST /?{action}"), &format!("Origin: {origin}\r\n"));
                assert_eq!(reply.0, status, "{action} {origin}");
            }
        }
        let (_, _, cookie) = ask("POST /?login=ann", "Origin: HTTPS://chat.example\r\n");
        assert!(cookie.unwrap().ends_with("; SameSite=Lax; Secure"));
    }

    #[test]
    fn what_is_no_login_is_refused() {
        for (line, status) in [
            ("POST /", 405),
            ("POST /?name=ann", 405),
            ("PUT /?login=ann", 405),
            ("POST /?login=", 400),
            ("POST /?login=%ff", 400),
            ("POST /?login=a&login=b", 400),
            ("POST /?login=%00", 400),
            ("GET /?login=ann", 200),
        ] {
            let (found, body, cookie) = ask(line, "");
            assert_eq!((found, cookie), (status, None), "{line}");
            assert_eq!(body.starts_with("<!doctype"), status == 200, "{line}");
        }
    }
}
