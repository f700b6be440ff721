//! The bytes of a zip archive that is written from its beginning to its end, as PKWARE's APPNOTE.TXT
//! 6.3.10 has it: stored without compression, with 64-bit sizes, offsets and counts where they are
//! needed, and only there. The numbers of sections are those of that document.

use bytes::{BufMut as _, Bytes, BytesMut};
use time::OffsetDateTime;

/// Bytes of the central directory, which is kept until the end: 100,000 entries and more with names of
/// ordinary length.
pub(crate) const MAX_DIRECTORY_BYTES: usize = 16 << 20;
/// The directory is kept, and sent, in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

// Signatures (sections 4.3.7, 4.3.9, 4.3.12, 4.3.14 to 4.3.16).
const LOCAL_HEADER: u32 = 0x0403_4b50;
const DATA_DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const ZIP64_END: u32 = 0x0606_4b50;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;

/// Made on UNIX, by these rules (section 4.4.2): the attributes are those of UNIX.
const MADE_BY: u16 = (3 << 8) | 63;
/// Knows folders and stored files (section 4.4.3).
const PLAIN: u16 = 20;
/// Knows 64 bits.
const ZIP64: u16 = 45;
/// Names are UTF-8 (section 4.4.4, bit 11).
const UTF8: u16 = 1 << 11;
/// CRC and sizes come behind the content (bit 3).
const DESCRIBED_BEHIND: u16 = 1 << 3;
/// Content as it is (section 4.4.5).
const STORED: u16 = 0;
/// In a field of 32 bits: see the extra field with 64. Also the first value that needs it.
const SEE_ZIP64: u32 = u32::MAX;
/// Likewise in a field of 16 bits.
const SEE_ZIP64_SHORT: u16 = u16::MAX;
/// Extra field with sizes and offset of 64 bits (section 4.5.3).
const ZIP64_EXTRA: u16 = 1;
/// Info-ZIP's extra field with a time in seconds since 1970, "UT".
const TIME_EXTRA: u16 = 0x5455;
/// It has the modification time.
const HAS_MODIFIED: u8 = 1;
/// `-rw-r--r--` and `drwxr-xr-x`, in the upper half (section 4.4.15).
const FILE_MODE: u32 = 0o100_644 << 16;
const FOLDER_MODE: u32 = (0o040_755 << 16) | 0x10;

/// The directory has no room for another entry.
#[derive(Debug, thiserror::Error)]
#[error("the archive has more entries than one archive can have")]
pub(crate) struct Full;

/// What becomes an entry.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Relative; that of a folder ends with a slash.
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Milliseconds since 1970.
    pub(crate) modified_ms: i64,
}

/// An archive that is being written.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Bytes so far.
    offset: u64,
    entries: u64,
    directory: Directory,
}

/// An entry whose content is being written.
#[derive(Debug)]
#[must_use]
pub(crate) struct Open {
    head: Head,
    offset: u64,
    flags: u16,
}

impl Writer {
    /// Begins an entry. Of one whose CRC-32 is not known yet it is told behind the content. Content
    /// of exactly the size that was told has to follow, and [`Self::end`].
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn begin(
        &mut self,
        out: &mut BytesMut,
        head: Head,
        crc: Option<u32>,
    ) -> Result<Open, Full> {
        if self.directory.len + head.longest_record() > MAX_DIRECTORY_BYTES {
            return Err(Full);
        }
        let flags = match crc {
            Some(_) => UTF8,
            None => UTF8 | DESCRIBED_BEHIND,
        };
        let before = out.len();
        out.put_u32_le(LOCAL_HEADER);
        out.put_u16_le(if head.is_large() { ZIP64 } else { PLAIN });
        out.put_u16_le(flags);
        out.put_u16_le(STORED);
        out.put_u32_le(dos_time(head.modified_ms));
        out.put_u32_le(crc.unwrap_or(0));
        // Nothing in them counts if it is told behind the content (section 4.4.4).
        let size = crc.map_or(0, |_| head.size);
        let short = if head.is_large() {
            SEE_ZIP64
        } else {
            short(size)
        };
        out.put_u32_le(short);
        out.put_u32_le(short);
        let mut extra = time_extra(head.modified_ms);
        if head.is_large() {
            // Says also that the descriptor has 64 bits (section 4.3.9.2).
            put_extra(&mut extra, &[size, size]);
        }
        put_lengths(out, &head.name, &extra);
        out.put_slice(head.name.as_bytes());
        out.put_slice(&extra);
        let offset = self.offset;
        self.offset += (out.len() - before) as u64;
        Ok(Open {
            head,
            offset,
            flags,
        })
    }

    /// Ends an entry whose content has been written.
    pub(crate) fn end(&mut self, out: &mut BytesMut, entry: &Open, crc: u32) {
        let head = &entry.head;
        self.offset += head.size;
        if entry.flags & DESCRIBED_BEHIND != 0 {
            let before = out.len();
            out.put_u32_le(DATA_DESCRIPTOR);
            out.put_u32_le(crc);
            for _compressed_or_not in 0..2 {
                if head.is_large() {
                    out.put_u64_le(head.size);
                } else {
                    out.put_u32_le(short(head.size));
                }
            }
            self.offset += (out.len() - before) as u64;
        }
        self.entries += 1;
        self.directory.put(&central_header(entry, crc));
    }

    /// The directory and what follows it.
    pub(crate) fn finish(self) -> impl Iterator<Item = Bytes> {
        let end = end(self.offset, self.directory.len as u64, self.entries);
        let Directory { pieces, last, .. } = self.directory;
        pieces
            .into_iter()
            .chain([last.freeze(), end])
            .filter(|piece| !piece.is_empty())
    }
}

impl Head {
    /// Its sizes need 64 bits.
    const fn is_large(&self) -> bool {
        self.size >= SEE_ZIP64 as u64
    }

    fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    /// Bytes in the directory, whatever the offset is.
    fn longest_record(&self) -> usize {
        /// With both extra fields.
        const FIXED: usize = 46 + 9 + 28;
        FIXED + self.name.len()
    }
}

/// Section 4.3.12.
fn central_header(entry: &Open, crc: u32) -> BytesMut {
    let Open {
        head,
        offset,
        flags,
    } = entry;
    let mut extra = time_extra(head.modified_ms);
    let mut long = Vec::with_capacity(3);
    if head.is_large() {
        long.extend([head.size; 2]);
    }
    if short(*offset) == SEE_ZIP64 {
        long.push(*offset);
    }
    if !long.is_empty() {
        put_extra(&mut extra, &long);
    }
    let mut out = BytesMut::with_capacity(head.longest_record());
    out.put_u32_le(CENTRAL_HEADER);
    out.put_u16_le(MADE_BY);
    out.put_u16_le(if long.is_empty() { PLAIN } else { ZIP64 });
    out.put_u16_le(*flags);
    out.put_u16_le(STORED);
    out.put_u32_le(dos_time(head.modified_ms));
    out.put_u32_le(crc);
    out.put_u32_le(short(head.size));
    out.put_u32_le(short(head.size));
    put_lengths(&mut out, &head.name, &extra);
    // No comment, the only disk, nothing known of the content.
    out.put_bytes(0, 2 + 2 + 2);
    out.put_u32_le(if head.is_folder() {
        FOLDER_MODE
    } else {
        FILE_MODE
    });
    out.put_u32_le(short(*offset));
    out.put_slice(head.name.as_bytes());
    out.put_slice(&extra);
    out
}

/// What stands behind a directory of `len` bytes at `offset`.
fn end(offset: u64, len: u64, entries: u64) -> Bytes {
    let mut out = BytesMut::new();
    let count = u16::try_from(entries).unwrap_or(SEE_ZIP64_SHORT);
    if count == SEE_ZIP64_SHORT || short(offset) == SEE_ZIP64 || short(len) == SEE_ZIP64 {
        /// Bytes of the record behind this number (section 4.3.14.1).
        const REST: u64 = 44;
        out.put_u32_le(ZIP64_END);
        out.put_u64_le(REST);
        out.put_u16_le(MADE_BY);
        out.put_u16_le(ZIP64);
        // The only disk.
        out.put_bytes(0, 4 + 4);
        out.put_u64_le(entries);
        out.put_u64_le(entries);
        out.put_u64_le(len);
        out.put_u64_le(offset);
        out.put_u32_le(ZIP64_LOCATOR);
        out.put_u32_le(0);
        out.put_u64_le(offset + len);
        out.put_u32_le(1);
    }
    out.put_u32_le(END);
    out.put_bytes(0, 2 + 2);
    out.put_u16_le(count);
    out.put_u16_le(count);
    out.put_u32_le(short(len));
    out.put_u32_le(short(offset));
    // No comment.
    out.put_u16_le(0);
    out.freeze()
}

/// The directory so far.
#[derive(Debug, Default)]
struct Directory {
    pieces: Vec<Bytes>,
    last: BytesMut,
    len: usize,
}

impl Directory {
    fn put(&mut self, record: &[u8]) {
        if self.last.len() + record.len() > PIECE_BYTES {
            self.pieces.push(self.last.split().freeze());
        }
        if self.last.capacity() == 0 {
            self.last.reserve(PIECE_BYTES.max(record.len()));
        }
        self.last.put_slice(record);
        self.len += record.len();
    }
}

/// A number of 64 bits in a field of 32.
fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(SEE_ZIP64)
}

fn put_extra(out: &mut BytesMut, numbers: &[u64]) {
    out.put_u16_le(ZIP64_EXTRA);
    out.put_u16_le(length(size_of_val(numbers)));
    for number in numbers {
        out.put_u64_le(*number);
    }
}

fn put_lengths(out: &mut BytesMut, name: &str, extra: &[u8]) {
    out.put_u16_le(length(name.len()));
    out.put_u16_le(length(extra.len()));
}

fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("a path has 4 KiB, even escaped it stays below 64 KiB")
}

/// Nothing for a time that has no room in it.
fn time_extra(modified_ms: i64) -> BytesMut {
    let mut out = BytesMut::new();
    if let Ok(seconds) = i32::try_from(modified_ms.div_euclid(1_000)) {
        out.put_u16_le(TIME_EXTRA);
        out.put_u16_le(length(1 + size_of_val(&seconds)));
        out.put_u8(HAS_MODIFIED);
        out.put_i32_le(seconds);
    }
    out
}

/// Date and time, as MS-DOS had them, from 1980 to 2107 and to two seconds (section 4.4.6). They have
/// no time zone; here they are UTC, and who knows the extra field takes that.
fn dos_time(modified_ms: i64) -> u32 {
    /// 1980-01-01.
    const FIRST: u32 = 0x0021_0000;
    /// 2107-12-31T23:59:58.
    const LAST: u32 = 0xff9f_bf7d;
    let Ok(at) = OffsetDateTime::from_unix_timestamp(modified_ms.div_euclid(1_000)) else {
        return if modified_ms < 0 { FIRST } else { LAST };
    };
    match u32::try_from(at.year() - 1980) {
        Err(_) => FIRST,
        Ok(years) if years > 127 => LAST,
        Ok(years) => {
            let date = (years << 9) | (u32::from(u8::from(at.month())) << 5) | u32::from(at.day());
            let time = (u32::from(at.hour()) << 11)
                | (u32::from(at.minute()) << 5)
                | (u32::from(at.second()) / 2);
            (date << 16) | time
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Seek as _, SeekFrom, Write as _},
        process::Command,
    };

    use super::*;

    /// 2024-02-29T12:34:56Z.
    const LEAP_DAY_MS: i64 = 1_709_210_096_000;

    /// Writes archives with content that is all zeros, which a file system need not keep.
    struct Sparse {
        writer: Writer,
        file: File,
        path: tempfile::TempPath,
    }

    impl Sparse {
        fn new() -> Self {
            let (file, path) = tempfile::NamedTempFile::new().unwrap().into_parts();
            Self {
                writer: Writer::default(),
                file,
                path,
            }
        }

        fn put(&mut self, name: &str, size: u64, crc: u32, told_before: bool) {
            let mut out = BytesMut::new();
            let head = Head {
                name: name.to_owned(),
                size,
                modified_ms: LEAP_DAY_MS,
            };
            let open = self
                .writer
                .begin(&mut out, head, told_before.then_some(crc));
            let open = open.unwrap();
            self.file.write_all(&out).unwrap();
            self.file
                .seek(SeekFrom::Current(size.try_into().unwrap()))
                .unwrap();
            out.clear();
            self.writer.end(&mut out, &open, crc);
            self.file.write_all(&out).unwrap();
        }

        /// What a script with the archive `z` prints.
        fn read(mut self, script: &str) -> String {
            for piece in std::mem::take(&mut self.writer).finish() {
                self.file.write_all(&piece).unwrap();
            }
            let script = format!("import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\n{script}");
            let mut python = Command::new("python3");
            let python = python.arg("-c").arg(script).arg(&self.path);
            let output = python.output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{errors}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        }
    }

    #[test]
    fn another_reader_agrees() {
        let mut sparse = Sparse::new();
        let zeros = crc32fast::hash(&[0; 1_000]);
        sparse.put("folder/", 0, 0, true);
        sparse.put("folder/grüße.txt", 1_000, zeros, true);
        sparse.put("folder/described behind", 1_000, zeros, false);
        sparse.put("folder/empty", 0, 0, true);
        let found = sparse.read(
            "assert z.testzip() is None\n\
             for i in z.infolist(): print(i.filename, i.file_size, i.is_dir(), i.flag_bits, \
             i.extract_version, '%o' % (i.external_attr >> 16), i.date_time, i.extra.hex())",
        );
        let rest = "(2024, 2, 29, 12, 34, 56) 5554050001f079e065";
        let expected = [
            format!("folder/ 0 True 2048 20 40755 {rest}"),
            format!("folder/grüße.txt 1000 False 2048 20 100644 {rest}"),
            format!("folder/described behind 1000 False 2056 20 100644 {rest}"),
            format!("folder/empty 0 False 2048 20 100644 {rest}"),
        ];
        assert_eq!(found, expected.join("\n"));
    }

    #[test]
    fn sizes_and_offsets_beyond_32_bits() {
        const SIZE: u64 = (4 << 30) + 5;
        let mut sparse = Sparse::new();
        // One byte less than what needs 64 bits, and what does; behind it also the offset.
        sparse.put("small", u64::from(u32::MAX) - 1, 1, false);
        sparse.put("exact", u64::from(u32::MAX), 2, false);
        sparse.put("large", SIZE, 3, false);
        let zeros = crc32fast::hash(&[0; 10]);
        sparse.put("behind", 10, zeros, true);
        sparse.put("last", 10, zeros, false);
        let found = sparse.read(
            "for i in z.infolist(): print(i.filename, i.file_size, i.compress_size, \
             i.extract_version, i.header_offset > 0xffffffff, z.open(i).read(1) == b'\\0')\n\
             assert z.read('behind') == z.read('last') == bytes(10)",
        );
        let expected = [
            "small 4294967294 4294967294 20 False True".to_owned(),
            "exact 4294967295 4294967295 45 True True".to_owned(),
            format!("large {SIZE} {SIZE} 45 True True"),
            "behind 10 10 45 True True".to_owned(),
            "last 10 10 45 True True".to_owned(),
        ];
        assert_eq!(found, expected.join("\n"));
    }

    #[test]
    fn more_entries_than_16_bits_count() {
        for count in [65_534, 65_535, 70_000] {
            let mut sparse = Sparse::new();
            for n in 0..count {
                sparse.put(&format!("{n}"), 0, 0, true);
            }
            let needs_64_bits = count >= 65_535;
            let found = sparse.read(
                "print(len(z.infolist()), z.infolist()[-1].filename, z.read('65000'), \
                 b'PK\\6\\6' in open(sys.argv[1], 'rb').read()[-98:])",
            );
            let needs_64_bits = if needs_64_bits { "True" } else { "False" };
            let expected = format!("{count} {} b'' {needs_64_bits}", count - 1);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_directory_has_an_end() {
        let mut writer = Writer::default();
        let mut out = BytesMut::new();
        let name = "x".repeat(10_000);
        let mut entries = 0;
        let full = loop {
            out.clear();
            let head = Head {
                name: name.clone(),
                size: 0,
                modified_ms: 0,
            };
            match writer.begin(&mut out, head, Some(0)) {
                Ok(open) => writer.end(&mut out, &open, 0),
                Err(full) => break full,
            }
            entries += 1;
        };
        assert!(!full.to_string().is_empty());
        assert!(entries > 1_600, "{entries}");
        let pieces: Vec<_> = writer.finish().collect();
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
        let len: usize = pieces.iter().map(Bytes::len).sum();
        assert!(len <= MAX_DIRECTORY_BYTES + 98);
    }

    #[test]
    fn times_outside_of_what_the_format_has() {
        assert_eq!(dos_time(0), 0x0021_0000, "1970");
        assert_eq!(dos_time(i64::MIN), 0x0021_0000);
        assert_eq!(dos_time(i64::MAX), 0xff9f_bf7d);
        let last_day_ms = 4_354_819_198_000;
        assert_eq!(dos_time(last_day_ms), 0xff9f_bf7d);
        assert_eq!(dos_time(last_day_ms + 2_000), 0xff9f_bf7d, "2108");
        assert!(time_extra(last_day_ms).is_empty());
        assert_eq!(time_extra(-1_500)[5..], (-2_i32).to_le_bytes());
    }
}
