//! Values as TOML writes them.

/// A text as TOML writes it.
pub(super) fn toml_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A list of texts as TOML writes it.
pub(super) fn toml_list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|own| toml_text(own)).collect();
    format!("[{}]", texts.join(", "))
}
