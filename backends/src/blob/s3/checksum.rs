//! CRC-32C as S3 writes it. The SDK computes those of the parts; what is here is for comparing
//! them: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// Castagnoli's polynomial, reversed (RFC 3720, appendix B.4).
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index: u32 = 0;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ POLYNOMIAL
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
};

/// The checksum of some bytes, in base64.
pub(super) fn crc32c(bytes: &[u8]) -> String {
    let last = bytes.iter().fold(!0_u32, |value, byte| {
        let index = value.to_le_bytes()[0] ^ byte;
        (value >> 8) ^ TABLE[usize::from(index)]
    });
    BASE64_STANDARD.encode((!last).to_be_bytes())
}

/// What the store shows for an object that it has put together: the checksum of the checksums of
/// its parts, and their number. `None` when one of them is none.
pub(super) fn composite<'a>(parts: impl Iterator<Item = Option<&'a str>>) -> Option<String> {
    let mut all = Vec::new();
    let mut count = 0_u32;
    for part in parts {
        all.extend(BASE64_STANDARD.decode(part?).ok()?);
        count += 1;
    }
    Some(format!("{}-{count}", crc32c(&all)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // RFC 3720, appendix B.4, with the bytes in the order of S3.
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, value) in [
            (&b"123456789"[..], 0xe306_9283_u32),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (&[], 0),
        ] {
            assert_eq!(crc32c(bytes), BASE64_STANDARD.encode(value.to_be_bytes()));
        }
    }

    #[test]
    fn a_composite_needs_every_part() {
        let (a, b) = (crc32c(b"a"), crc32c(b"b"));
        let whole = composite([Some(a.as_str()), Some(b.as_str())].into_iter()).unwrap();
        assert!(whole.ends_with("-2"), "{whole}");
        assert_eq!(composite([Some(a.as_str()), None].into_iter()), None);
        assert_eq!(composite([Some("?")].into_iter()), None);
    }
}
