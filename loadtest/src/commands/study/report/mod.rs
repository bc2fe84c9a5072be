//! The report, which is made from the raw figures alone.

mod method;
mod progress;
mod published;
mod scale;
mod servers;
mod sweep;

use std::fmt::{self, Display, Formatter};

use super::document::Document;
use crate::commands::study::document::FIGURES;

impl Display for Document {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "# What an idle WebSocket connection costs\n")?;
        writeln!(f, "Written by `loadtest study`; the raw figures are in [{FIGURES}]({FIGURES}).")?;
        let Some(machine) = self.machine() else {
            return Ok(());
        };
        if let Some(part) = &self.servers {
            servers::write(f, part)?;
            published::write(f, part)?;
        }
        if let Some(part) = &self.tls_servers {
            servers::write(f, part)?;
        }
        if let Some(part) = &self.sweep {
            sweep::write(f, part, machine)?;
        }
        if let Some(part) = &self.scale {
            scale::write(f, part, machine)?;
        }
        method::write(f, self, machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To accept a changed report, run the tests with `UPDATE_GOLDEN=1`.
    #[test]
    fn the_report_of_fixed_figures_is_the_golden_one() {
        let document: Document =
            serde_json::from_str(include_str!("../golden/memory-study.json")).unwrap();
        let report = document.to_string();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
            std::fs::write(golden, &report).unwrap();
        }
        assert_eq!(report, include_str!("../golden/memory-study.md"));
    }

    #[test]
    fn figures_are_the_same_after_writing_and_reading() {
        let text = include_str!("../golden/memory-study.json");
        let document: Document = serde_json::from_str(text).unwrap();
        let again: Document =
            serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap();
        assert_eq!(again.to_string(), document.to_string());
    }

    #[test]
    fn an_empty_document_has_a_short_report() {
        assert_eq!(Document::default().to_string().lines().count(), 3);
    }

    const GOLDEN: &str = "src/commands/study/golden/memory-study.md";
}
