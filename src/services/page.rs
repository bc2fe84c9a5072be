//! Pages: replies to plain GET and HEAD requests, after which the connection closes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::http::{HeaderValue, RequestHead, ResponseHeader, Status, quoted_list_elements};

/// Serves plain GET and HEAD requests of one route.
pub trait Page {
    /// The reply to this request. The gateway omits the body for HEAD.
    fn reply(&mut self, request: &RequestHead<'_>) -> PageReply;
}

/// The reply of a page.
#[derive(Clone, Debug)]
pub struct PageReply {
    /// 200, or 304 if the request shows that the client has the body already (RFC 9110 §15.4.5). The
    /// gateway omits the body of a 304.
    pub status: Status,
    /// `Content-Type`.
    pub content_type: HeaderValue,
    /// Further headers.
    pub headers: Vec<ResponseHeader>,
    /// The body.
    pub body: Bytes,
}

/// A page that is compiled into the binary: one file, with its style and script.
#[derive(Clone, Debug)]
pub struct BuiltInPage {
    reply: PageReply,
    entity_tag: String,
}

/// Puts a page together: the parts that all pages share, around its own.
macro_rules! page {
    ($own:literal) => {
        concat!(
            include_str!("pages/head.html"),
            "<style>",
            include_str!("pages/page.css"),
            "</style>\n",
            include_str!($own),
            include_str!("pages/conversation.html"),
            "<script type=\"module\">",
            include_str!("pages/page.js"),
            "</script>\n"
        )
    };
}

impl BuiltInPage {
    /// The page for the rooms of `/chat`.
    #[must_use]
    pub fn chat() -> Self {
        Self::of(page!("pages/chat.html"))
    }

    /// The page for the room of `/chatroom/ws/:name/:token`.
    #[must_use]
    pub fn hall() -> Self {
        Self::of(page!("pages/hall.html"))
    }

    fn of(html: &'static str) -> Self {
        let entity_tag = format!("\"{}\"", hash(html));
        let policy = content_security_policy(STYLE, SCRIPT);
        let headers = [
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", &policy),
            ("ETag", &entity_tag),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ];
        let headers = headers
            .into_iter()
            .filter_map(|(name, value)| ResponseHeader::new(name, value.to_owned()).ok())
            .collect();
        let body = Bytes::from_static(html.as_bytes());
        let content_type = HeaderValue::HTML;
        Self { reply: PageReply { status: Status::Ok, content_type, headers, body }, entity_tag }
    }

    /// Whether the client has this version of the page already (RFC 9110 §13.1.2).
    fn is_known_to(&self, request: &RequestHead<'_>) -> bool {
        quoted_list_elements(request.header_values("If-None-Match")).any(|known| {
            known == b"*"
                || known.strip_prefix(b"W/").unwrap_or(known) == self.entity_tag.as_bytes()
        })
    }
}

impl Page for BuiltInPage {
    fn reply(&mut self, request: &RequestHead<'_>) -> PageReply {
        let is_known = self.is_known_to(request);
        let status = if is_known { Status::NotModified } else { Status::Ok };
        PageReply { status, ..self.reply.clone() }
    }
}

/// The policy that allows a page its own style, its own script and connections to its own host, and
/// nothing else. Markup that a message injects could then load and run nothing, and the browser refuses
/// to make markup from text.
fn content_security_policy(style: &str, script: &str) -> String {
    let (style, script) = (hash(style), hash(script));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// The SHA-256 in base64, by which a policy names a script or style (CSP Level 3 §2.3.1).
fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

const SCRIPT: &str = include_str!("pages/page.js");
const STYLE: &str = include_str!("pages/page.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_head;

    fn status(page: &mut BuiltInPage, header: &str) -> Status {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n");
        page.reply(&parse_head(request.as_bytes()).unwrap()).status
    }

    /// The text between `start` and `end`, each of which must occur once.
    fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
        let parts: Vec<&str> = text.split(start).collect();
        assert_eq!(parts.len(), 2, "{start}");
        let (inside, after) = parts[1].split_once(end).unwrap();
        assert!(!after.contains(end), "{end}");
        inside
    }

    #[test]
    fn a_page_contains_the_style_and_script_that_its_policy_allows() {
        for page in [BuiltInPage::chat(), BuiltInPage::hall()] {
            let html = str::from_utf8(&page.reply.body).unwrap();
            assert_eq!(between(html, "<style>", "</style>"), STYLE);
            assert_eq!(between(html, "<script type=\"module\">", "</script>"), SCRIPT);
            assert_eq!(page.reply.headers.len(), 5, "every header is a valid one");
        }
    }

    #[test]
    fn a_policy_names_the_hash_of_what_may_run() {
        // The specification's own example.
        let policy = content_security_policy("", "alert('Hello, world.');");
        let script = "script-src 'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=';";
        assert!(policy.contains(script), "{policy}");
    }

    #[test]
    fn pages_have_different_tags() {
        let (mut chat, hall) = (BuiltInPage::chat(), BuiltInPage::hall());
        assert_ne!(chat.reply.body, hall.reply.body);
        let of_hall = format!("If-None-Match: {}\r\n", hall.entity_tag);
        assert_eq!(status(&mut chat, &of_hall), Status::Ok);
    }

    #[test]
    fn a_known_page_is_not_sent_again_rfc_9110_section_13_1_2() {
        let mut page = BuiltInPage::chat();
        let tag = page.entity_tag.clone();
        for value in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
            let header = format!("If-None-Match: {value}\r\n");
            assert_eq!(status(&mut page, &header), Status::NotModified, "{value}");
        }
        let unquoted = tag.trim_matches('"');
        for header in [
            "",
            "If-None-Match: \"\"\r\n",
            "If-None-Match: \"a, *, b\"\r\n",
            &format!("If-None-Match: {unquoted}\r\n"),
        ] {
            assert_eq!(status(&mut page, header), Status::Ok, "{header}");
        }
    }
}
