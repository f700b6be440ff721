//! Where a page of a listing ended, as opaque text.

use cloudstore_proto::file::SortKey;
use cloudstore_service::{Kind, Problem, Result};

/// The last entry of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Size or time that was sorted by; 0 when sorted by name.
    pub value: i64,
    /// Name, which decides among equal values.
    pub name: String,
}

impl Cursor {
    /// As text. The order goes in, so that a cursor cannot be used with another one.
    #[must_use]
    pub fn encode(&self, sort: SortKey, descending: bool) -> String {
        let order = i32::from(sort);
        hex::encode(format!(
            "{order}/{}/{}/{}",
            u8::from(descending),
            self.value,
            self.name
        ))
    }

    /// The reverse of [`Cursor::encode`]; `None` for the first page (empty text).
    ///
    /// # Errors
    /// `MalformedRequest` for anything but the cursor of a page in this order.
    pub fn decode(text: &str, sort: SortKey, descending: bool) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let refused = || Problem::new(Kind::MalformedRequest, "the cursor is not of this listing");
        let bytes = hex::decode(text).map_err(|_| refused())?;
        let text = String::from_utf8(bytes).map_err(|_| refused())?;
        // A name has no '/', which makes the split unambiguous.
        let [order, direction, value, name] = text
            .split('/')
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| refused())?;
        if order != i32::from(sort).to_string() || direction != u8::from(descending).to_string() {
            return Err(refused());
        }
        let value = value.parse().map_err(|_| refused())?;
        Ok(Some(Self {
            value,
            name: name.to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_in_the_same_order_only() {
        let cursor = Cursor {
            value: -7,
            name: "\u{e9} b".to_owned(),
        };
        let text = cursor.encode(SortKey::Size, true);
        assert_eq!(
            Cursor::decode(&text, SortKey::Size, true).unwrap(),
            Some(cursor)
        );
        assert_eq!(Cursor::decode("", SortKey::Size, true).unwrap(), None);
        assert!(Cursor::decode(&text, SortKey::Size, false).is_err());
        assert!(Cursor::decode(&text, SortKey::Name, true).is_err());
        for nonsense in ["x", "00", "ff", &text[2..]] {
            let problem = Cursor::decode(nonsense, SortKey::Size, true).unwrap_err();
            assert_eq!(problem.kind(), Kind::MalformedRequest);
        }
    }
}
