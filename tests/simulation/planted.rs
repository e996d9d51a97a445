//! Faults planted between the replica and the world: each breaks one promise, and must be found.

/// A planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Tracking is granted, and the map is not made durable before the gate opens.
    GrantWithoutMap,
    /// A commit is acknowledged before the mirror's answer.
    AckBeforeMirror,
    /// A commit is acknowledged before the local file is synced.
    AckBeforeLocalSync,
    /// A round of group commit acknowledges what was committed after its barrier was queued.
    AckBeyondBarrier,
    /// A read is answered before the commit that it saw is durable.
    ReadBeforeDurable,
    /// The mirror answers a barrier without a sync.
    AnswerWithoutSync,
    /// What an earlier link's mirror says counts for the present one.
    StrangerHeard,
    /// The mirror takes over while appliers still write.
    AppliersNotJoined,
    /// A write in tracking is not marked.
    MarkDropped,
    /// The coordinator tells a row before it is durable.
    ToldBeforeDurable,
    /// A suspended primary acknowledges without the grant of tracking.
    SelfGrantedTracking,
    /// A process serves on its start, without asking.
    ServeWithoutAsking,
    /// A link goes on after a cut, without what was under way.
    LinkResumed,
    /// The union of both sides' contributions is not durable before blocks are cleared.
    UnionNotDurable,
    /// The map is not made durable at the sync that ends a checkpoint.
    CheckpointWithoutMap,
    /// The mirror is promoted from any row.
    PromotedUnsynchronized,
    /// A primary in sync serves reads without its lease.
    ReadWithoutLease,
    /// A block counts as equal as soon as it is sent.
    ClearedWhenSent,
    /// The log of a primary that ended uncleanly is not looked at.
    LogUnread,
    /// The mirror keeps its contribution to itself.
    ContributionDropped,
}

impl Planted {
    pub const ALL: &'static [Planted] = &[
        Planted::GrantWithoutMap,
        Planted::AckBeforeMirror,
        Planted::AckBeforeLocalSync,
        Planted::AckBeyondBarrier,
        Planted::ReadBeforeDurable,
        Planted::AnswerWithoutSync,
        Planted::StrangerHeard,
        Planted::AppliersNotJoined,
        Planted::MarkDropped,
        Planted::ToldBeforeDurable,
        Planted::SelfGrantedTracking,
        Planted::ServeWithoutAsking,
        Planted::LinkResumed,
        Planted::UnionNotDurable,
        Planted::CheckpointWithoutMap,
        Planted::PromotedUnsynchronized,
        Planted::ReadWithoutLease,
        Planted::ClearedWhenSent,
        Planted::LogUnread,
        Planted::ContributionDropped,
    ];
}
