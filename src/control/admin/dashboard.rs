//! The dashboard: pages that hold no data, and ask the API for it.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::shared::Shared;

/// The pages.
pub(super) fn router() -> Router<Arc<Shared>> {
    let index = Router::new().route("/", get(async || page(HTML, INDEX)));
    FILES.iter().fold(index, |router, (path, content_type, text)| {
        router.route(path, get(async move || page(content_type, text)))
    })
}

fn page(content_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// The files of the folder, each with its path and its type.
macro_rules! files {
    ($($name:literal: $content_type:ident,)+) => {
        &[$((
            concat!("/dashboard/", $name),
            $content_type,
            include_str!(concat!("dashboard/", $name)),
        ),)+]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const INDEX: &str = include_str!("dashboard/index.html");
const FILES: &[(&str, &str, &str)] = files! {
    "dashboard.css": CSS,
    "api.js": SCRIPT,
    "chart.js": SCRIPT,
    "connections.js": SCRIPT,
    "dashboard.js": SCRIPT,
    "dom.js": SCRIPT,
    "drain.js": SCRIPT,
    "explorer.js": SCRIPT,
    "format.js": SCRIPT,
    "gateway.js": SCRIPT,
    "lists.js": SCRIPT,
    "metrics.js": SCRIPT,
    "overview.js": SCRIPT,
    "panel.js": SCRIPT,
    "parts.js": SCRIPT,
    "points.js": SCRIPT,
    "reasons.js": SCRIPT,
    "reload.js": SCRIPT,
    "rooms.js": SCRIPT,
    "session.js": SCRIPT,
    "settings.js": SCRIPT,
    "tables.js": SCRIPT,
    "theme.js": SCRIPT,
    "tiles.js": SCRIPT,
    "trace.js": SCRIPT,
    "upstreams.js": SCRIPT,
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths that a file asks for: `"/dashboard/…"` of the page, `'./…'` of scripts.
    fn asked(text: &str) -> Vec<String> {
        let of_page = text.split("\"/dashboard/").skip(1).filter_map(|rest| rest.split_once('"'));
        let of_scripts = text.split("from './").skip(1).filter_map(|rest| rest.split_once('\''));
        of_page.chain(of_scripts).map(|(name, _)| format!("/dashboard/{name}")).collect()
    }

    #[test]
    fn every_file_that_is_asked_for_is_served_and_the_others_are_not() {
        let texts = FILES.iter().map(|(_, _, text)| *text).chain([INDEX]);
        let mut asked: Vec<String> = texts.flat_map(asked).collect();
        asked.sort_unstable();
        asked.dedup();
        let mut served: Vec<&str> = FILES.iter().map(|(path, _, _)| *path).collect();
        served.sort_unstable();
        assert_eq!(asked, served);
    }

    /// The policy of the listener forbids scripts and styles in the page itself.
    #[test]
    fn the_page_holds_no_script_and_no_style() {
        for forbidden in ["<style", " style=", " onclick=", "javascript:"] {
            assert!(!INDEX.contains(forbidden), "{forbidden}");
        }
        assert_eq!(INDEX.matches("<script").count(), INDEX.matches("src=\"/dashboard/").count());
        for (path, _, text) in FILES {
            for forbidden in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "document.write"]
            {
                assert!(!text.contains(forbidden), "{path}: {forbidden}");
            }
        }
    }
}
