//! What is read most: a sorted set whose scores halve every six hours.
//!
//! Nothing is rewritten for that. A read counts for 2^(age of the set / half-life), so later reads
//! weigh more, which is the same as earlier ones weighing less. Before the numbers become too large,
//! all scores are scaled down once and the set is as good as new. Time is that of Redis.

use std::time::Duration;

use bytes::Bytes;
use cloudstore_proto::file::{HotBlob, ReadCount};

use super::{
    link::Away,
    shared::{Shared, eval},
};

/// Redis may take this long: up to 10,000 members are moved, and no client waits for it.
const BUDGET: Duration = Duration::from_millis(500);
/// A score is worth half after this long.
const HALF_LIFE: Duration = Duration::from_secs(6 * 3_600);
/// Blobs in the ranking; those read least are forgotten.
const KEPT: usize = 10_000;
/// Half-lives after which scores are scaled down: about a week, when a read counts for 10^9. A
/// double overflows at 1,023.
const MAX_AGE: u32 = 30;

const RECORD: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since = tonumber(redis.call('GET', KEYS[2]))
local function start()
    since = now
    redis.call('SET', KEYS[2], string.format('%.0f', now))
end
if not since then
    redis.call('DEL', KEYS[1])
    start()
end
local age = (now - since) / ARGV[1]
if age > tonumber(ARGV[2]) then
    redis.call('ZUNIONSTORE', KEYS[1], 1, KEYS[1], 'WEIGHTS', string.format('%.17g', 2 ^ -age))
    start()
    age = 0
end
for at = 4, #ARGV, 2 do
    redis.call('ZINCRBY', KEYS[1], string.format('%.17g', ARGV[at + 1] * 2 ^ age), ARGV[at])
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
return redis.status_reply('OK')";

const HOTTEST: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since = tonumber(redis.call('GET', KEYS[2])) or now
local age = string.format('%.17g', (now - since) / ARGV[1])
return {age, redis.call('ZREVRANGE', KEYS[1], 0, ARGV[2] - 1, 'WITHSCORES')}";

/// A blob and its score as it is stored.
type Member = (Vec<u8>, f64);

impl Shared {
    /// Counts reads. Without Redis they are not counted.
    pub(super) async fn record_reads(&self, counts: &[ReadCount]) {
        if counts.is_empty() {
            return;
        }
        let (set, since) = self.ranking_keys();
        let mut command = eval(RECORD, &[&set, &since]);
        command.arg(half_life_ms()).arg(MAX_AGE).arg(KEPT);
        for count in counts {
            command.arg(&count.blake3[..]).arg(count.reads);
        }
        // A failure is counted already, and there is nothing else to do.
        let _: Result<String, Away> = self.link.ask_within(BUDGET, &command).await;
    }

    /// The blobs with the highest scores, best first; none without Redis.
    pub(super) async fn hot_blobs(&self, limit: u32) -> Vec<HotBlob> {
        if limit == 0 {
            return Vec::new();
        }
        let (set, since) = self.ranking_keys();
        let mut command = eval(HOTTEST, &[&set, &since]);
        command.arg(half_life_ms()).arg(limit);
        let answer = self.link.ask_within(BUDGET, &command).await;
        let Ok((age, scores)): Result<(f64, Vec<Member>), Away> = answer else {
            return Vec::new();
        };
        let blob = |(blake3, score): Member| HotBlob {
            blake3: Bytes::from(blake3),
            score: score / age.exp2(),
        };
        scores.into_iter().map(blob).collect()
    }

    /// The set, and the time since which its scores grow.
    fn ranking_keys(&self) -> (String, String) {
        let set = format!("{}{{hot}}", self.prefix);
        let since = format!("{set}:since");
        (set, since)
    }
}

fn half_life_ms() -> u64 {
    HALF_LIFE.as_secs() * 1_000
}
