//! Transfers: claiming, failing, parking, replaying; leases and fencing tokens.

use super::*;

async fn fail(f: &Fixture, seed: u8, fence: i64, retry_after_ms: i64, park: bool) -> Result<()> {
    let request = FailTransferRequest {
        blameless: false,
        blake3: digests(seed).blake3,
        fence,
        error: "\u{e9}".repeat(5_000),
        retry_after_ms,
        park,
    };
    f.store.fail_transfer(request).await.map(|_| ())
}

async fn renew(f: &Fixture, seed: u8, fence: i64) -> Result<()> {
    let blake3 = digests(seed).blake3;
    let request = RenewTransferRequest {
        blake3,
        fence,
        lease_ms: LEASE,
    };
    f.store.renew_transfer(request).await.map(|_| ())
}

async fn list(f: &Fixture, state: TransferState) -> Vec<Transfer> {
    let request = ListTransfersRequest {
        state: state.into(),
        limit: 0,
    };
    f.store.list_transfers(request).await.unwrap().transfers
}

async fn replay(f: &Fixture, blake3: Vec<Bytes>) -> u32 {
    f.store
        .replay_transfers(ReplayTransfersRequest { blake3 })
        .await
        .unwrap()
        .replayed
}

fn seeds(transfers: &[Transfer]) -> Vec<u8> {
    transfers
        .iter()
        .map(|transfer| transfer.blob.as_ref().unwrap().blake3[0])
        .collect()
}

/// From waiting to stored, with failures on the way.
pub async fn transfers(f: Fixture) {
    let owner = f.account(1 << 20).await;
    for seed in 1..=3 {
        f.put(&owner, &format!("/{seed}"), seed).await.unwrap();
        f.clock.advance(1);
    }
    let waiting = list(&f, TransferState::Waiting).await;
    assert_eq!(seeds(&waiting), [1, 2, 3], "oldest first");
    assert_eq!(
        (waiting[0].attempts, waiting[0].state()),
        (0, TransferState::Waiting)
    );

    let claimed = f.claim(&[digests(9).blake3, digests(2).blake3]).await;
    assert_eq!(seeds(&claimed), [2], "what cannot be claimed is left out");
    let blob = claimed[0].blob.clone().unwrap();
    assert_eq!((blob.state(), &*blob.node), (BlobState::Transferring, NODE));
    assert_eq!(f.stat(&owner, "/2").await.unwrap().blob.unwrap(), blob);
    let request = ClaimTransfersRequest {
        limit: 1,
        lease_ms: LEASE,
        ..Default::default()
    };
    let one = f.store.claim_transfers(request).await.unwrap().transfers;
    assert_eq!(seeds(&one), [1], "the oldest that is due");
    assert_eq!(seeds(&f.claim(&[]).await), [3]);
    assert!(f.claim(&[]).await.is_empty());
    assert_eq!(list(&f, TransferState::Claimed).await.len(), 3);

    let commits = vec![
        CommitTransfer {
            fence: one[0].fence + 1_000,
            ..of(1)
        },
        CommitTransfer {
            fence: claimed[0].fence,
            ..of(2)
        },
        CommitTransfer { fence: 1, ..of(9) },
    ];
    let answer = f
        .store
        .commit_transfers(CommitTransfersRequest { commits })
        .await
        .unwrap();
    assert_eq!(answer.committed, [false, true, false]);
    let blob = f.stat(&owner, "/2").await.unwrap().blob.unwrap();
    assert_eq!(
        (blob.state(), &blob.sha256),
        (BlobState::Stored, &digests(2).sha256)
    );
    assert_eq!(
        &*blob.node, NODE,
        "the staged copy is there until it is forgotten"
    );
    assert!(
        !f.commit_transfer(2, claimed[0].fence).await,
        "delivered twice"
    );

    fail(&f, 1, one[0].fence, 500, false).await.unwrap();
    assert_eq!(
        f.stat(&owner, "/1").await.unwrap().blob.unwrap().state(),
        BlobState::Staged
    );
    assert!(f.claim(&[]).await.is_empty(), "backing off");
    assert!(
        f.claim(&[digests(1).blake3]).await.is_empty(),
        "also when named"
    );
    f.clock.advance(500);
    let again = f.claim(&[]).await;
    assert_eq!((seeds(&again), again[0].attempts), (vec![1], 1));
    assert_eq!(again[0].last_error.len(), 1_000, "cut at a character");

    assert_eq!(
        kind(fail(&f, 1, one[0].fence, 0, true).await),
        Kind::LeaseLost,
        "old token"
    );
    fail(&f, 1, again[0].fence, 0, true).await.unwrap();
    f.clock.advance(i64::from(u32::MAX));
    let rest = f.claim(&[]).await;
    assert_eq!(seeds(&rest), [3], "parked ones stay");
    let parked = list(&f, TransferState::Parked).await;
    assert_eq!((seeds(&parked), parked[0].attempts), (vec![1], 2));
    assert_eq!(list(&f, TransferState::Unspecified).await.len(), 2);
    assert_eq!(replay(&f, vec![digests(3).blake3]).await, 0, "not parked");
    assert_eq!(replay(&f, vec![digests(1).blake3]).await, 1);
    let replayed = f.claim(&[]).await;
    assert_eq!((seeds(&replayed), replayed[0].attempts), (vec![1], 0));
    fail(&f, 1, replayed[0].fence, 0, true).await.unwrap();
    assert_eq!(replay(&f, vec![]).await, 1);
    f.store_blob(1).await;
    assert_eq!(seeds(&list(&f, TransferState::Unspecified).await), [3]);
}

/// A copy that could not be moved is asked for again and replaced by a new one.
pub async fn parked_copies(f: Fixture) {
    let owner = f.account(1 << 20).await;
    f.put(&owner, "/a", 1).await.unwrap();
    let claimed = f.claim(&[]).await.remove(0);
    fail(&f, 1, claimed.fence, 0, true).await.unwrap();
    let probe = declare("/b", blake3(1));
    let answer = f.begin(&owner, vec![probe]).await.remove(0);
    assert!(
        matches!(answer, Answer::Uploading(_)),
        "not instant: {answer:?}"
    );
    let healed = f.put(&owner, "/c", 1).await.unwrap();
    assert!(healed.took_staged_copy);
    let again = f.claim(&[]).await.remove(0);
    assert_eq!(again.attempts, 0);
    let copy = again.blob.unwrap().staging_id;
    assert_ne!(copy, claimed.blob.unwrap().staging_id);
    assert_eq!(
        f.stat(&owner, "/a").await.unwrap().blob.unwrap().staging_id,
        copy
    );

    fail(&f, 1, again.fence, 10_000, false).await.unwrap();
    let sent_again = f.put(&owner, "/d", 1).await.unwrap();
    assert!(sent_again.took_staged_copy, "its node may be gone");
    let third = f.claim(&[]).await.remove(0);
    assert_ne!(third.blob.unwrap().staging_id, copy);
    let spare = f.put(&owner, "/e", 1).await.unwrap();
    assert!(!spare.took_staged_copy, "a worker is at it");
}

fn of(seed: u8) -> CommitTransfer {
    let Digests {
        blake3,
        sha256,
        sha1,
    } = digests(seed);
    CommitTransfer {
        blake3,
        sha256,
        sha1,
        fence: 0,
    }
}

/// A lease that runs out passes on; the old token is worth nothing from then on.
pub async fn leases(f: Fixture) {
    let owner = f.account(1 << 20).await;
    f.put(&owner, "/a", 1).await.unwrap();
    let first = f.claim(&[]).await.remove(0);
    assert_eq!(first.due_at_ms, f.clock.now_ms() + LEASE);
    f.clock.advance(LEASE - 1);
    assert!(f.claim(&[]).await.is_empty());
    renew(&f, 1, first.fence).await.unwrap();
    f.clock.advance(LEASE - 1);
    assert!(f.claim(&[digests(1).blake3]).await.is_empty(), "renewed");
    f.clock.advance(1);
    let second = f.claim(&[]).await.remove(0);
    assert!(second.fence > first.fence);
    assert_eq!(second.attempts, 1, "a lost lease is a failed attempt");
    assert_eq!(kind(renew(&f, 1, first.fence).await), Kind::LeaseLost);
    assert_eq!(
        kind(fail(&f, 1, first.fence, 0, false).await),
        Kind::LeaseLost
    );
    assert!(!f.commit_transfer(1, first.fence).await);
    let blob = f.stat(&owner, "/a").await.unwrap().blob.unwrap();
    assert_eq!(blob.state(), BlobState::Transferring, "nothing changed");
    f.clock.advance(LEASE + 1);
    assert!(
        f.commit_transfer(1, second.fence).await,
        "late, and nobody else took over"
    );
    assert_eq!(kind(renew(&f, 1, second.fence).await), Kind::LeaseLost);
}

/// Waiting transfers can be parked without a claim, with the reason; others stay as they are.
pub async fn parking(f: Fixture) {
    let owner = f.account(1 << 20).await;
    for seed in 1..=4 {
        f.put(&owner, &format!("/{seed}"), seed).await.unwrap();
        f.clock.advance(1);
    }
    f.store_blob(3).await;
    let claimed = f.claim(&[digests(2).blake3]).await.remove(0);
    let park = async |seeds: &[u8]| -> u32 {
        let request = ParkTransfersRequest {
            blake3: seeds.iter().map(|seed| digests(*seed).blake3).collect(),
            reason: "\u{e9}".repeat(5_000),
        };
        f.store.park_transfers(request).await.unwrap().parked
    };
    assert_eq!(park(&[]).await, 0, "nothing named, nothing parked");
    assert_eq!(park(&[9, 3, 2]).await, 0, "unknown, stored, claimed");
    assert_eq!(park(&[2, 1, 1]).await, 1);
    assert_eq!(park(&[1]).await, 0, "parked already");
    let parked = list(&f, TransferState::Parked).await;
    assert_eq!((seeds(&parked), parked[0].attempts), (vec![1], 0));
    assert_eq!(parked[0].last_error.len(), 1_000, "cut at a character");
    renew(&f, 2, claimed.fence).await.unwrap();
    f.clock.advance(i64::from(u32::MAX));
    let due = f.claim(&[digests(1).blake3, digests(4).blake3]).await;
    assert_eq!(seeds(&due), [4], "parked ones stay");
    let probe = declare("/b", blake3(1));
    let answer = f.begin(&owner, vec![probe]).await.remove(0);
    assert!(
        matches!(answer, Answer::Uploading(_)),
        "not offered: {answer:?}"
    );
    assert_eq!(replay(&f, vec![digests(1).blake3]).await, 1);
    assert_eq!(seeds(&f.claim(&[digests(1).blake3]).await), [1]);
}
