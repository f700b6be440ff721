//! What the drafts differ in. Each row is what a client gets that announces this interop version.

use ::http::{HeaderMap, StatusCode};

use super::{UPLOAD_COMPLETE, UPLOAD_DRAFT_INTEROP_VERSION, UPLOAD_INCOMPLETE, fields};

/// The rules of one interop version.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Interop version.
    pub(super) number: u8,
    /// `Upload-Incomplete`, with the opposite meaning, instead of `Upload-Complete` (until -01).
    pub(super) inverted: bool,
    /// What a request to append means that does not say whether it completes the upload.
    pub(super) unsaid: Unsaid,
    /// Bytes are appended as `application/partial-upload` (from -04).
    pub(super) typed: bool,
    /// Offset retrieval and cancellation with fields of an append are refused (until -05).
    pub(super) strict: bool,
    /// `104` also tells the progress (from -03).
    pub(super) progress: bool,
    /// Key of the remaining lifetime in `Upload-Limit`, which is there from -04.
    pub(super) age: Option<&'static str>,
    /// Status of an append that does not complete the upload: 201 until -05.
    pub(super) appended: StatusCode,
    /// An upload that got more bytes than its length is given up (from -08).
    pub(super) excess_ends: bool,
    /// What is not active (any more) is 404, never 410 (until -05).
    pub(super) only_404: bool,
    /// Completing what is complete already gets the same answer again (from -12).
    pub(super) replays: bool,
}

/// See [`Rules::unsaid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsaid {
    /// -01: "omitted or set to false".
    Complete,
    /// -02 to -05: complete only with a true value.
    Incomplete,
    /// From -06 on the field is required.
    Refused,
}

const V3: Rules = Rules {
    number: 3,
    inverted: true,
    unsaid: Unsaid::Complete,
    typed: false,
    strict: true,
    progress: false,
    age: None,
    appended: StatusCode::CREATED,
    excess_ends: false,
    only_404: true,
    replays: false,
};
const V4: Rules = Rules {
    number: 4,
    inverted: false,
    unsaid: Unsaid::Incomplete,
    ..V3
};
const V5: Rules = Rules {
    number: 5,
    progress: true,
    ..V4
};
const V6: Rules = Rules {
    number: 6,
    typed: true,
    age: Some("expires"),
    ..V5
};
const V7: Rules = Rules {
    number: 7,
    unsaid: Unsaid::Refused,
    strict: false,
    age: Some("max-age"),
    appended: StatusCode::NO_CONTENT,
    excess_ends: true,
    only_404: false,
    ..V6
};
const V8: Rules = Rules {
    number: 8,
    replays: true,
    ..V7
};
static ALL: [Rules; 6] = [V3, V4, V5, V6, V7, V8];

/// The version that a client speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) rules: &'static Rules,
    /// The client said so: only then there may be a `104`.
    pub(super) announced: bool,
}

impl Version {
    /// Without a version, or with one that is not known, it is the newest, as of the standard to
    /// come; but nobody else ever had `Upload-Incomplete`.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let told = fields::integer(headers, &UPLOAD_DRAFT_INTEROP_VERSION);
        let known = ALL.iter().find(|rules| told == Some(rules.number.into()));
        let inverted =
            headers.contains_key(UPLOAD_INCOMPLETE) && !headers.contains_key(UPLOAD_COMPLETE);
        let [oldest, .., newest] = &ALL;
        Self {
            rules: known.unwrap_or(if inverted { oldest } else { newest }),
            announced: known.is_some(),
        }
    }

    /// Whether a request says that it has the rest of the upload; `None` if it does not say.
    pub(super) fn completes(self, headers: &HeaderMap) -> Option<bool> {
        if self.rules.inverted {
            fields::boolean(headers, &UPLOAD_INCOMPLETE).map(|incomplete| !incomplete)
        } else {
            fields::boolean(headers, &UPLOAD_COMPLETE)
        }
    }

    /// Says in an answer whether the upload is complete.
    pub(super) fn tell_complete(self, headers: &mut HeaderMap, complete: bool) {
        if self.rules.inverted {
            headers.insert(UPLOAD_INCOMPLETE, fields::of_boolean(!complete));
        } else {
            headers.insert(UPLOAD_COMPLETE, fields::of_boolean(complete));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn versions_of_requests() {
        const VERSION: &str = "upload-draft-interop-version";
        for (fields, number, announced) in [
            (vec![(VERSION, "3")], 3, true),
            (vec![(VERSION, "6")], 6, true),
            (vec![(VERSION, "8")], 8, true),
            (vec![(VERSION, "2")], 8, false),
            (vec![(VERSION, "9")], 8, false),
            (vec![(VERSION, "six")], 8, false),
            (vec![(VERSION, "6"), (VERSION, "6")], 8, false),
            (vec![("upload-complete", "?1")], 8, false),
            (vec![("upload-incomplete", "?1")], 3, false),
        ] {
            let version = Version::of(&headers(&fields));
            let found = (version.rules.number, version.announced);
            assert_eq!(found, (number, announced), "{fields:?}");
        }
        for (index, rules) in ALL.iter().enumerate() {
            assert_eq!(usize::from(rules.number), index + 3);
        }
    }

    #[test]
    fn completeness_is_inverted_in_the_oldest() {
        for (number, field, value, complete) in [
            ("3", "upload-incomplete", "?0", Some(true)),
            ("3", "upload-incomplete", "?1", Some(false)),
            ("3", "upload-complete", "?1", None),
            ("4", "upload-complete", "?1", Some(true)),
            ("8", "upload-complete", "?0", Some(false)),
            ("8", "upload-complete", "1", None),
            ("8", "upload-incomplete", "?0", None),
        ] {
            let request = headers(&[("upload-draft-interop-version", number), (field, value)]);
            let version = Version::of(&request);
            assert_eq!(version.completes(&request), complete, "{number} {field}");
            if let Some(complete) = complete {
                let mut answer = HeaderMap::new();
                version.tell_complete(&mut answer, complete);
                assert_eq!(answer, headers(&[(field, value)]));
            }
        }
    }
}
