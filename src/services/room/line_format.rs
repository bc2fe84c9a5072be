//! The line of text that a message becomes.

use thiserror::Error;

/// A template with `{message}` once and `{name}` at most once, such as `{name}: {message}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFormat {
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Literal(Box<str>),
    Message,
    Name,
}

/// A text is not a [`LineFormat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "must be \"bare\", \"console\", \"from\", \"named\" or a line with {{message}} once and \
     {{name}} at most once"
)]
pub struct InvalidLineFormat;

impl Default for LineFormat {
    /// `{name}: {message}`
    fn default() -> Self {
        Self {
            parts: vec![
                TemplatePart::Name,
                TemplatePart::Literal(": ".into()),
                TemplatePart::Message,
            ],
        }
    }
}

impl LineFormat {
    /// Parses a template, or the word for a format that other chat servers use:
    ///
    /// | word | template |
    /// |---|---|
    /// | `bare` | `{message}` |
    /// | `console` | `{name}:{message}` |
    /// | `from` | `{message} -- FROM {name}` |
    /// | `named` | `{name}: {message}` |
    ///
    /// # Errors
    /// [`InvalidLineFormat`] for anything else, such as a template with a line break.
    pub fn parse(text: &str) -> Result<Self, InvalidLineFormat> {
        let template = match text {
            "bare" => "{message}",
            "console" => "{name}:{message}",
            "from" => "{message} -- FROM {name}",
            "named" => "{name}: {message}",
            template => template,
        };
        if template.matches("{message}").count() != 1
            || template.matches("{name}").count() > 1
            || template.chars().any(char::is_control)
        {
            return Err(InvalidLineFormat);
        }
        let mut parts = Vec::new();
        let mut rest = template;
        while !rest.is_empty() {
            let (part, length) = if rest.starts_with("{message}") {
                (TemplatePart::Message, "{message}".len())
            } else if rest.starts_with("{name}") {
                (TemplatePart::Name, "{name}".len())
            } else {
                let ends = ["{message}", "{name}"].into_iter().filter_map(|mark| rest.find(mark));
                let length = ends.min().unwrap_or(rest.len());
                (TemplatePart::Literal(rest[..length].into()), length)
            };
            parts.push(part);
            rest = &rest[length..];
        }
        Ok(Self { parts })
    }

    /// Formats a message as a line.
    #[must_use]
    pub fn line(&self, name: &str, message: &str) -> String {
        let mut line = String::with_capacity(name.len() + message.len() + LITERAL_BYTES_GUESS);
        for part in &self.parts {
            line.push_str(match part {
                TemplatePart::Literal(text) => text,
                TemplatePart::Message => message,
                TemplatePart::Name => name,
            });
        }
        line
    }
}

/// Capacity reserved for the literal parts, so that most lines are allocated once.
const LITERAL_BYTES_GUESS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_templates() {
        let line = |word: &str| LineFormat::parse(word).unwrap().line("张三", "hi {name}");
        assert_eq!(line("bare"), "hi {name}");
        assert_eq!(line("console"), "张三:hi {name}");
        assert_eq!(line("from"), "hi {name} -- FROM 张三");
        assert_eq!(line("named"), "张三: hi {name}");
        assert_eq!(line("<{name}> {message}!"), "<张三> hi {name}!");
    }

    #[test]
    fn a_template_without_exactly_one_message_is_refused() {
        for text in
            ["", "other", "{name}", "{message}{message}", "{name}{name}{message}", "\n{message}"]
        {
            assert_eq!(LineFormat::parse(text), Err(InvalidLineFormat), "{text}");
        }
    }
}
