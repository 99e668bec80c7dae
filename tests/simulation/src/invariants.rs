//! What must hold once nothing goes wrong any more and `token-refresh` has had its minutes.

use std::time::Duration;

use ring_partner::integrations::IntegrationStatus;
use ring_partner::oauth::RefreshToken;
use shared::audit::Deed;
use shared::grant::vault::Vault;
use shared::grant::{Grant, Life, RelinkReason};
use shared::link::LinkStatus;
use shared::world::Nature as _;

use crate::house::House;
use crate::interference::Peace;
use crate::ring::Family;

/// What is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Grants that we had, and can't keep alive any more.
    pub grants: Causes,
    /// Codes that Ring took, and whose pair never came to us.
    pub codes: Causes,
}

impl std::ops::AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        self.grants += other.grants;
        self.codes += other.codes;
    }
}

/// By whose doing it is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    /// A process died between Ring's answer and its first durable write.
    pub died_in_window: u64,
    /// Ring's answer never came.
    pub answer_lost: u64,
    /// Their user took back what they had allowed.
    pub revoked: u64,
    /// Ours.
    pub by_our_fault: u64,
}

impl Causes {
    fn count(&mut self, family: &Family) {
        if family.revoked_by_user {
            self.revoked += 1;
        } else if family.died_in_window {
            self.died_in_window += 1;
        } else if family.answer_lost {
            self.answer_lost += 1;
        } else {
            self.by_our_fault += 1;
        }
    }
}

impl std::ops::AddAssign for Causes {
    fn add_assign(&mut self, other: Self) {
        self.died_in_window += other.died_in_window;
        self.answer_lost += other.answer_lost;
        self.revoked += other.revoked;
        self.by_our_fault += other.by_our_fault;
    }
}

/// Nothing goes wrong from here on: leases and claims run out, and the minutes come, those of a day later too.
pub async fn recover(house: &House) -> Result<(), String> {
    house.interfere(std::sync::Arc::new(Peace));
    for later in [0, 0, 600] {
        next_minute(house, later).await;
    }
    // Whoever waits to be linked does not wait for the day to pass.
    let all_claims = || {
        let all = house.world.all();
        let claiming = all
            .kept
            .grants()
            .find(|grant| matches!(grant.life, Life::Claiming { .. }));
        claiming.map(|grant| format!("grant {} is still being claimed after ten minutes: {grant:?}", grant.id))
    };
    if let Some(left) = all_claims() {
        return Err(left);
    }
    for later in [25 * 3600, 25 * 3600] {
        next_minute(house, later).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}

async fn next_minute(house: &House, later: u64) {
    tokio::time::sleep(Duration::from_secs(60)).await;
    let process = house.world.process();
    house.minute(&process, Duration::from_secs(later)).await;
}

/// What must hold then; and what is lost.
pub async fn hold(house: &House) -> Result<Lost, String> {
    let now = house.world.now();
    let (grants, links, families, waiting, counts) = {
        let all = house.world.all();
        let grants: Vec<Grant> = all.kept.grants().cloned().collect();
        let links: Vec<_> = all.kept.links().cloned().collect();
        let families: Vec<(u64, Family)> = all.ring.families().map(|(n, f)| (n, f.clone())).collect();
        (grants, links, families, all.kept.waiting(), all.ring.counts)
    };
    let claim = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
    claim(waiting == 0, format!("{waiting} pairs wait in the rescue queue"))?;
    claim(
        counts.older_than_saved == 0,
        format!(
            "Ring was shown {} tokens older than the saved ones",
            counts.older_than_saved
        ),
    )?;
    let moved = house.world.all().kept.moved;
    claim(moved == 0, format!("{moved} live links were taken from their users"))?;
    claim(
        counts.spent_codes == 0,
        format!("{} codes were presented again", counts.spent_codes),
    )?;

    let mut lost = Lost::default();
    for grant in &grants {
        let what = format!("grant {} of {:?}", grant.id, grant.account_id);
        // Nobody renews a grant that is refused or over.
        let is_renewed = !matches!(grant.life, Life::RelinkRequired { .. } | Life::Ended { .. });
        claim(
            !is_renewed || grant.lease.as_ref().is_none_or(|lease| lease.until > now),
            format!(
                "{what} is leased although that ran out: {grant:?} due {:?}",
                house.world.all().kept.due_of(&grant.id)
            ),
        )?;
        let link = links.iter().find(|link| link.grant_id == grant.id);
        match &grant.life {
            Life::Resolving { .. } => {
                let number = house.world.all().families.get(&grant.id).copied();
                let is_lost = families.iter().any(|(n, family)| Some(*n) == number && family.revoked);
                claim(is_lost, format!("{what} is still being resolved"))?;
            }
            Life::Claiming { .. } => return Err(format!("{what} is still being claimed")),
            Life::Confirmed | Life::Linked => {
                let link = link.ok_or_else(|| format!("{what} is linked, and has no link"))?;
                claim(link.is_live(), format!("{what} is linked, and its link is not"))?;
                claim(
                    Some(&link.account_id) == grant.account_id.as_ref(),
                    format!("{what} has a link of {}", link.account_id),
                )?;
            }
            Life::Unclaimed { .. } => claim(link.is_none(), format!("{what} is unclaimed, and has a link"))?,
            Life::RelinkRequired { .. } | Life::Ended { .. } => {}
        }
        let is_left = matches!(grant.life, Life::RelinkRequired { .. }) && link.is_none();
        claim(
            !is_left || house.world.all().kept.due_of(&grant.id).is_some(),
            format!("{what} is refused, nobody has it, and nobody will look at it again"),
        )?;
        let Some(tokens) = &grant.tokens else {
            claim(
                matches!(grant.life, Life::Ended { .. }),
                format!("{what} lives and has no tokens"),
            )?;
            continue;
        };
        let vault = Vault::new(house.world.clone());
        let token: RefreshToken = vault
            .open(&tokens.refresh, &grant.id)
            .await
            .map_err(|error| format!("{what} can't be opened: {error}"))?;
        let all = house.world.all();
        let Some((number, family)) = all.ring.family_of(&token) else {
            return Err(format!("{what} has a token that Ring never gave"));
        };
        if all.ring.is_alive(&token) {
            let why = RelinkReason::RefreshTokenRefused;
            claim(
                grant.life != Life::RelinkRequired { why },
                format!("{what} has a good pair, and is to be linked again"),
            )?;
        } else {
            lost.grants.count(family);
            claim(
                lost.grants.by_our_fault == 0,
                format!("{what} is lost by our fault: family {number} {family:?}, {grant:?}"),
            )?;
        }
    }
    // A pair that Ring gave for a code and that nobody has.
    for (number, family) in &families {
        let is_kept = house.world.all().families.values().any(|known| known == number);
        if family.newest > 0 && !is_kept {
            lost.codes.count(family);
            claim(
                lost.codes.by_our_fault == 0,
                format!("family {number} is lost by our fault: {family:?}"),
            )?;
        }
    }
    for link in links.iter().filter(|link| link.is_live()) {
        let what = format!("link {} of {}", link.id, link.account_id);
        let grant = grants.iter().find(|grant| grant.id == link.grant_id);
        let life = grant.map(|grant| &grant.life);
        let all = house.world.all();
        claim(all.kept.is_given(link), format!("{what} is nobody's"))?;
        match link.status {
            LinkStatus::Completed => {
                claim(link.todo.is_empty(), format!("{what} has {:?} to be done", link.todo))?;
                let is_linked = matches!(life, Some(Life::Linked));
                let is_refused = grant.is_some_and(|grant| is_refused(&all.ring, grant));
                claim(
                    is_linked || is_refused,
                    format!("{what} is complete, and its grant is {life:?}"),
                )?;
                let at_ring = all.ring.integration(&link.account_id);
                claim(
                    is_refused || at_ring == Some(&IntegrationStatus::Completed),
                    format!("{what} is complete with us, and at Ring it is {at_ring:?}"),
                )?;
                let is_told = all
                    .announced
                    .iter()
                    .any(|(kind, account, _)| kind == "account_linked" && account == link.account_id.as_str());
                claim(is_told, format!("{what} is complete, and nobody was told"))?;
                let entry = link.audit_entry(Deed::Linked, link.linked_at);
                let is_audited = all.kept.audit.contains_key(&entry.id());
                claim(
                    is_audited,
                    format!("{what} is complete, and the audit trail has it not"),
                )?;
            }
            LinkStatus::RelinkRequired => claim(
                matches!(life, Some(Life::RelinkRequired { .. })),
                format!("{what} is to be linked again, and its grant is {life:?}"),
            )?,
            // Its user is to come again; only they can go on.
            LinkStatus::Awaiting => {}
            status => {
                let is_refused = grant.is_some_and(|grant| is_refused(&all.ring, grant));
                claim(is_refused, format!("{what} is {status:?} still: {link:?}"))?;
            }
        }
    }
    let all = house.world.all();
    for (_, account, _) in all.announced.iter().filter(|(kind, ..)| kind == "account_unlinked") {
        let is_audited = all.kept.audit.values().any(|entry| {
            let is_its = entry.account_id.as_ref().is_some_and(|of| of.as_str() == account);
            is_its && matches!(entry.deed, Deed::Unlinked | Deed::RemovedAtRing)
        });
        claim(
            is_audited,
            format!("{account} was unlinked, and the audit trail has it not"),
        )?;
    }
    Ok(lost)
}

/// Whether Ring takes this grant's tokens no more.
fn is_refused(ring: &crate::ring::Truth, grant: &Grant) -> bool {
    let Some(number) = grant.account_id.as_ref() else {
        return true;
    };
    ring.families()
        .any(|(_, family)| family.account == *number && (family.revoked || family.died_in_window || family.answer_lost))
}
