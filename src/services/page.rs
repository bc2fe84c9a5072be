//! Pages: replies to plain GET and HEAD requests, after which the connection closes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::http::{
    Allow, HeaderValue, Method, Rejection, RequestHead, ResponseHeader, Status,
    quoted_list_elements,
};
use crate::timer::WallTime;

/// Serves plain requests of one route, of which only the head is read.
pub trait Page {
    /// The reply to a GET or HEAD. The gateway omits the body for HEAD.
    fn reply(&mut self, request: &RequestHead<'_>) -> PageReply;

    /// The reply to a request of any method, by the date of which it is asked. Without this a page takes
    /// GET and HEAD.
    ///
    /// # Errors
    /// The refusal.
    fn answer(&mut self, request: &RequestHead<'_>, now: WallTime) -> Result<PageReply, Rejection> {
        let _ = now;
        match request.method() {
            Method::Get | Method::Head => Ok(self.reply(request)),
            Method::Other => Err(Rejection::method_not_allowed(Allow::GetAndHead)),
        }
    }
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
///
/// It is put together when it is first asked for: each loop has its own, and an idle one needs none.
#[derive(Clone, Debug)]
pub struct BuiltInPage {
    html: &'static str,
    style: &'static str,
    script: &'static str,
    /// What the address of the socket begins with, where the file does not say it.
    socket: String,
    /// The page as it is for each depth of a path that was asked for; a route has few.
    variants: Vec<Variant>,
}

/// A page for paths of one depth.
///
/// The address of its socket is relative to the page, so that both may stand below a prefix that a
/// proxy removes: a page on `/a/b` looks for `../chat`.
#[derive(Clone, Debug)]
struct Variant {
    depth: usize,
    reply: PageReply,
    entity_tag: String,
}

/// Puts a page together: the parts that all pages share, around its own.
macro_rules! page {
    ($own:literal) => {
        concat!(
            include_str!("pages/head.html"),
            "<style>",
            include_str!("pages/base.css"),
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
        Self::of(page!("pages/chat.html"), STYLE, SCRIPT)
    }

    /// The page for the room of `/chatroom/ws/:name/:token`.
    #[must_use]
    pub fn hall() -> Self {
        Self::of(page!("pages/hall.html"), STYLE, SCRIPT)
    }

    /// The page for conversations on channels, whose route has the path `socket`.
    pub(super) fn conversations(socket: &str) -> Self {
        // Loading has refused what is no path; a quote would end the attribute.
        let socket = socket.trim_start_matches('/').replace('&', "&amp;").replace('"', "&quot;");
        Self { socket, ..Self::of(CONVERSATIONS, CONVERSATIONS_STYLE, CONVERSATIONS_SCRIPT) }
    }

    const fn of(html: &'static str, style: &'static str, script: &'static str) -> Self {
        Self { html, style, script, socket: String::new(), variants: Vec::new() }
    }

    /// The page on `path`.
    fn on(&mut self, path: &[u8]) -> &Variant {
        let depth = path.iter().filter(|&&byte| byte == b'/').count().saturating_sub(1);
        let index = match self.variants.iter().position(|variant| variant.depth == depth) {
            Some(index) => index,
            None => {
                let variant = self.variant(depth);
                self.variants.push(variant);
                self.variants.len() - 1
            }
        };
        &self.variants[index]
    }

    fn variant(&self, depth: usize) -> Variant {
        let address = format!("{SOCKET}{}{}", "../".repeat(depth), self.socket);
        let body = if address == SOCKET {
            Bytes::from_static(self.html.as_bytes())
        } else {
            self.html.replace(SOCKET, &address).into()
        };
        Variant::new(depth, body, &content_security_policy(self.style, self.script))
    }
}

impl Variant {
    fn new(depth: usize, body: Bytes, policy: &str) -> Self {
        let entity_tag = format!("\"{}\"", hash(&body));
        let headers = [
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", policy),
            ("ETag", &entity_tag),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ];
        let headers = headers
            .into_iter()
            .filter_map(|(name, value)| ResponseHeader::new(name, value.to_owned()).ok())
            .collect();
        let content_type = HeaderValue::HTML;
        let reply = PageReply { status: Status::Ok, content_type, headers, body };
        Self { depth, reply, entity_tag }
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
        let variant = self.on(request.path().raw());
        let is_known = variant.is_known_to(request);
        let status = if is_known { Status::NotModified } else { Status::Ok };
        PageReply { status, ..variant.reply.clone() }
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
fn hash(text: impl AsRef<[u8]>) -> String {
    STANDARD.encode(Sha256::digest(text))
}

/// What stands before the address of the socket.
const SOCKET: &str = "data-socket=\"";
const SCRIPT: &str = include_str!("pages/page.js");
const STYLE: &str = concat!(include_str!("pages/base.css"), include_str!("pages/page.css"));

/// What the page of conversations applies.
const CONVERSATIONS_STYLE: &str =
    concat!(include_str!("pages/base.css"), include_str!("pages/conversations.css"));
/// What it runs: one module, in the order in which its parts use each other.
macro_rules! conversations_script {
    () => {
        concat!(
            include_str!("pages/conversations/protocol.js"),
            include_str!("pages/conversations/names.js"),
            include_str!("pages/conversations/state.js"),
            include_str!("pages/conversations/view.js"),
            include_str!("pages/conversations/main.js"),
        )
    };
}
const CONVERSATIONS_SCRIPT: &str = conversations_script!();
const CONVERSATIONS: &str = concat!(
    include_str!("pages/head.html"),
    "<style>",
    include_str!("pages/base.css"),
    include_str!("pages/conversations.css"),
    "</style>\n",
    include_str!("pages/conversations.html"),
    "<script type=\"module\">",
    conversations_script!(),
    "</script>\n"
);

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
        parts[1].split_once(end).unwrap().0
    }

    #[test]
    fn a_page_contains_the_style_and_script_that_its_policy_allows() {
        for (mut page, style, script) in [
            (BuiltInPage::chat(), STYLE, SCRIPT),
            (BuiltInPage::hall(), STYLE, SCRIPT),
            (BuiltInPage::conversations("/a"), CONVERSATIONS_STYLE, CONVERSATIONS_SCRIPT),
        ] {
            let page = page.on(b"/");
            let html = str::from_utf8(&page.reply.body).unwrap();
            assert_eq!(between(html, "<style>", "</style>"), style);
            assert_eq!(between(html, "<script type=\"module\">", "</script>"), script);
            assert_eq!(page.reply.headers.len(), 5, "every header is a valid one");
        }
    }

    #[test]
    fn the_address_of_the_socket_is_relative_to_the_page() {
        let mut page = BuiltInPage::hall();
        for (path, socket) in [
            ("/", "chatroom/ws/"),
            ("/chatroom", "chatroom/ws/"),
            ("/a/b", "../chatroom/ws/"),
            ("/a/b/", "../../chatroom/ws/"),
            ("/a/c", "../chatroom/ws/"),
        ] {
            let variant = page.on(path.as_bytes());
            let html = str::from_utf8(&variant.reply.body).unwrap();
            assert!(between(html, SOCKET, "\"").starts_with(socket), "{path}");
        }
        assert_eq!(page.variants.len(), 3);
        let mut page = BuiltInPage::conversations("/connection/web\"socket");
        let html = page.on(b"/a/b").reply.body.clone();
        let html = str::from_utf8(&html).unwrap();
        assert_eq!(between(html, SOCKET, "\""), "../connection/web&quot;socket");
        let mut page = BuiltInPage::hall();
        let tag = page.on(b"/").entity_tag.clone();
        assert_ne!(page.on(b"/a/b").entity_tag, tag);
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
        let (mut chat, mut hall) = (BuiltInPage::chat(), BuiltInPage::hall());
        assert_ne!(chat.on(b"/").reply.body, hall.on(b"/").reply.body);
        let of_hall = format!("If-None-Match: {}\r\n", hall.on(b"/").entity_tag);
        assert_eq!(status(&mut chat, &of_hall), Status::Ok);
    }

    #[test]
    fn a_known_page_is_not_sent_again_rfc_9110_section_13_1_2() {
        let mut page = BuiltInPage::chat();
        let tag = page.on(b"/").entity_tag.clone();
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
