//! What is asked of Redis, and what this process knows by itself.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, cmd};

use super::{
    entry::{Seen, Stored, Version, new_version},
    link::{Away, Link},
    recent::{Dirty, Positions, Writes, later},
    subject::Subject,
};

/// How long a version lives, and with it the position of the write that made it: by then every
/// replica that is in use has it.
const VERSION_LIFETIME: Duration = Duration::from_secs(60);
/// Part of its lifetime by which an entry lives shorter or longer, in percent: those that were
/// made together do not all end together.
const JITTER_PERCENT: u64 = 20;
/// Pause before Redis is told again of writes that it does not know of.
const TELL_AGAIN: Duration = Duration::from_millis(200);

/// Gives the version of a subject, and makes one where there is none.
const VERSION_OF: &str = "
local known = redis.call('GET', KEYS[1])
if known then return known end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]";

/// Stores an entry if the version still is what it was when the load began.
const FILL: &str = "
local known = redis.call('GET', KEYS[1])
if not known or string.sub(known, 1, 16) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1";

/// Gives a subject a new version. Its position does not go back: writes that are concurrent, and
/// commands that were held up, arrive in any order. `covered` is that of `service::position`.
pub(super) const TELL: &str = "
local function covered(first, second)
    while first ~= '' and second ~= '' do
        local pattern = string.find(first, '^%d') and '^%d+' or '^%D+'
        local a, b = string.match(first, pattern), string.match(second, pattern)
        if not b then return false end
        first, second = string.sub(first, #a + 1), string.sub(second, #b + 1)
        if pattern == '^%D+' then
            if a ~= b then return false end
        else
            a, b = string.gsub(a, '^0+', ''), string.gsub(b, '^0+', '')
            if #a > #b or (#a == #b and a > b) then return false end
        end
    end
    return first == second
end
local known = redis.call('GET', KEYS[1])
local position = ARGV[2]
if known then
    local before = string.sub(known, 17)
    if position == '' or covered(position, before) then position = before end
end
redis.call('SET', KEYS[1], ARGV[1] .. position, 'PX', ARGV[3])
return position";

/// What all calls of a store share.
pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) prefix: String,
    pub(super) positions: Positions,
    pub(super) writes: Writes,
    dirty: Dirty,
}

impl Shared {
    pub(super) fn new(link: Link, prefix: String) -> Self {
        Self {
            link,
            prefix,
            positions: Positions::new(VERSION_LIFETIME),
            writes: Writes::default(),
            dirty: Dirty::new(VERSION_LIFETIME),
        }
    }

    /// The version of a subject, and the entry under a key if it has that version.
    pub(super) async fn look(
        &self,
        subject: &Subject,
        key: &str,
    ) -> Result<(Seen, Option<Stored>), Away> {
        if self.dirty.contains(subject) {
            return Err(Away("dirty"));
        }
        let version_key = self.version_key(subject);
        let both = cmd("MGET").arg(&version_key).arg(key).to_owned();
        let (version, entry): (Option<Vec<u8>>, Option<Vec<u8>>) = self.link.ask(&both).await?;
        if let Some(seen) = version.as_deref().and_then(Seen::decode) {
            let entry = entry.as_deref().and_then(Stored::decode);
            let entry = entry.filter(|entry| entry.version == seen.version);
            return Ok((seen, entry));
        }
        // The version has to be there when the load begins, else its entry could not be told from
        // one that is older than a write in between.
        let make = eval(VERSION_OF, &[&version_key])
            .arg(&new_version()[..])
            .arg(millis(VERSION_LIFETIME))
            .to_owned();
        let version: Vec<u8> = self.link.ask(&make).await?;
        Seen::decode(&version)
            .map(|seen| (seen, None))
            .ok_or(Away("error"))
    }

    /// The position of the last write to a subject, by any process.
    pub(super) async fn position_of(&self, subject: &Subject) -> Option<String> {
        let own = self.positions.get(subject);
        if self.dirty.contains(subject) {
            return own;
        }
        let command = cmd("GET").arg(self.version_key(subject)).to_owned();
        let version: Option<Vec<u8>> = self.link.ask(&command).await.ok().flatten();
        let seen = version.as_deref().and_then(Seen::decode);
        later(own, seen.and_then(|seen| seen.position))
    }

    /// Keeps what a load found, unless something was written since it began.
    pub(super) async fn fill(
        &self,
        subject: &Subject,
        key: &str,
        entry: &Stored,
        lifetime: Duration,
    ) {
        let Some(value) = entry.encode() else {
            return;
        };
        if self.dirty.contains(subject) {
            return;
        }
        let command = eval(FILL, &[&self.version_key(subject), key])
            .arg(&entry.version[..])
            .arg(value)
            .arg(jittered(lifetime, &new_version()))
            .to_owned();
        // Whether it was stored changes nothing, and a failure is counted already.
        let _: Result<bool, Away> = self.link.ask(&command).await;
    }

    /// A write to a subject has ended, whatever came of it.
    pub(super) async fn wrote(self: &Arc<Self>, subject: Subject, position: Option<&str>) {
        self.writes.add(&subject);
        if let Some(position) = position {
            self.positions.note(&subject, position);
        }
        if self.tell(&subject, position).await.is_err() && self.dirty.add(subject) {
            tokio::spawn(tell_again(Arc::downgrade(self)));
        }
    }

    /// Gives a subject a new version in Redis: what is cached of it does not count any more.
    async fn tell(&self, subject: &Subject, position: Option<&str>) -> Result<(), Away> {
        let mark = self.dirty.mark();
        let command = eval(TELL, &[&self.version_key(subject)])
            .arg(&new_version()[..])
            .arg(position.unwrap_or_default())
            .arg(millis(VERSION_LIFETIME))
            .to_owned();
        let _: Vec<u8> = self.link.ask(&command).await?;
        self.dirty.told(subject, mark);
        Ok(())
    }

    fn version_key(&self, subject: &Subject) -> String {
        format!("{}ver:{{{subject}}}", self.prefix)
    }
}

/// Tells Redis of the writes that it does not know of, until it knows of all of them.
async fn tell_again(shared: std::sync::Weak<Shared>) {
    loop {
        tokio::time::sleep(TELL_AGAIN).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let Some(subjects) = shared.dirty.pending() else {
            return;
        };
        for subject in subjects {
            let position = shared.positions.get(&subject);
            if shared.tell(&subject, position.as_deref()).await.is_err() {
                break;
            }
        }
    }
}

/// A script with its keys, to which arguments are added.
pub(super) fn eval(script: &str, keys: &[&str]) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(script).arg(keys.len()).arg(keys);
    command
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A lifetime in milliseconds, a little shorter or longer.
fn jittered(lifetime: Duration, random: &Version) -> u64 {
    let span = millis(lifetime) * 2 * JITTER_PERCENT / 100;
    let random = u64::from(u16::from_be_bytes([random[14], random[15]]));
    millis(lifetime) - span / 2 + span * random / u64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_differ() {
        let mut random = new_version();
        random[14..].fill(0);
        assert_eq!(jittered(Duration::from_secs(30), &random), 24_000);
        random[14..].fill(0xff);
        assert_eq!(jittered(Duration::from_secs(30), &random), 36_000);
    }
}
