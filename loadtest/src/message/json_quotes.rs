//! JSON like that of a price feed, which compresses well.

use std::fmt::Write as _;

/// At least `bytes` bytes of quotes in ASCII, one after the other.
pub(super) fn quotes(bytes: usize, draws: impl Iterator<Item = u32>) -> String {
    let mut text = String::with_capacity(bytes + QUOTE_BYTES);
    let mut time = MIDNIGHT_MILLIS;
    for draw in draws {
        if text.len() >= bytes {
            break;
        }
        // Each value takes other bits of the draw, so they are independent enough.
        let symbol = SYMBOLS[draw as usize % SYMBOLS.len()];
        let (bid, spread) = (1_000 + (draw >> 5) % 90_000, 1 + (draw >> 22) % 9);
        let (size, ask) = (100 * (1 + (draw >> 26) % 50), bid + spread);
        time += u64::from(draw >> 24);
        let _ = write!(
            text,
            r#"{{"symbol":"{symbol}","bid":{}.{:02},"ask":{}.{:02},"size":{size},"time":{time}}},"#,
            bid / 100,
            bid % 100,
            ask / 100,
            ask % 100,
        );
    }
    text
}

const SYMBOLS: [&str; 32] = [
    "AAPL", "ADBE", "AMGN", "AMZN", "AVGO", "CMCS", "COST", "CSCO", "GILD", "GOOG", "HONY", "INTC",
    "INTU", "ISRG", "MDLZ", "META", "MSFT", "MUAA", "NFLX", "NVDA", "ORLY", "PANW", "PDDA", "PYPL",
    "QCOM", "REGN", "SBUX", "SNPS", "TMUS", "TSLA", "TXNA", "VRTX",
];
const MIDNIGHT_MILLIS: u64 = 1_795_219_200_000;
const QUOTE_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;
    use crate::random::Random;

    #[test]
    fn a_kilobyte_of_quotes_shrinks_to_about_300_bytes() {
        let mut random = Random::new(1);
        let draws = std::iter::repeat_with(|| u32::from_le_bytes(random.mask_key()));
        let text = quotes(100_000, draws);
        for message in text.as_bytes().chunks_exact(1024) {
            // The level that tidegate compresses with.
            let mut stream = Compress::new(Compression::new(3), false);
            let mut output = Vec::with_capacity(2 * message.len());
            stream.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
            assert!((270..=350).contains(&output.len()), "{} bytes", output.len());
        }
    }
}
