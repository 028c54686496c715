//! An event of each kind of an account, for the stored forms.
//!
//! Depends on its neighbours.

use super::specimens::{AT, DEADLINE, USER, of_all};
use crate::domain::{
    account::{self, Approval, PasswordHash, Role, Standing},
    ids::UserId,
};

pub(super) fn account() -> [(&'static str, account::Event); 17] {
    use account::Event;
    let variant = |event: &Event| match event {
        Event::Registered { .. } => 0,
        Event::SessionStarted { .. } => 1,
        Event::Rotated { .. } => 2,
        Event::ReuseDetected { .. } => 3,
        Event::SessionEnded { .. } => 4,
        Event::PasswordChanged { .. } => 5,
        Event::RoleGranted { .. } => 6,
        Event::ErasureBegun { .. } => 7,
        Event::Erased { .. } => 8,
        Event::Revised { .. } => 9,
        Event::SellerDecided { .. } => 10,
        Event::RequestNoted => 11,
    };
    let password_hash = || PasswordHash::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA");
    let registered = |role, name, standing| Event::Registered {
        user: USER,
        role,
        password_hash: password_hash(),
        name,
        standing,
        at: AT,
    };
    let family = 0x9999;
    let decided = |approval, note: Option<&str>| {
        let (by, note) = (UserId(0x7777), note.map(Into::into));
        Event::SellerDecided { user: USER, approval, by, note, at: AT }
    };
    let granted =
        |role, epoch| Event::RoleGranted { user: USER, role, standing: Standing::Free, created_at: AT, epoch };
    let password_changed = |epoch, kept| Event::PasswordChanged { password_hash: password_hash(), epoch, kept, at: AT };
    of_all(
        variant,
        12,
        [
            ("registered", registered(Role::Customer, Some("Asha".into()), Standing::Free)),
            ("nameless", registered(Role::Customer, None, Standing::Free)),
            ("waiting", registered(Role::Seller, None, Standing::Waiting)),
            ("session_started", Event::SessionStarted { family, expires_at: DEADLINE, at: AT }),
            ("rotated", Event::Rotated { family, counter: 1, at: AT }),
            ("reuse_detected", Event::ReuseDetected { family, counter: 0, at: AT }),
            ("session_ended", Event::SessionEnded { family }),
            ("password_changed", password_changed(1, None)),
            ("own_password_changed", password_changed(2, Some(family))),
            ("approved", decided(Approval::Approved, None)),
            ("refused", decided(Approval::Refused, Some("no address"))),
            ("revised", Event::Revised { name: None, contact: Some("+91 20 0000 0000".into()), version: 2 }),
            ("role_granted_seller", granted(Role::Seller, 1)),
            ("role_granted_admin", granted(Role::Admin, 2)),
            ("erasure_begun", Event::ErasureBegun { user: USER, by: UserId(0x7777), epoch: 1, at: AT }),
            ("erased", Event::Erased { at: AT }),
            ("request_noted", Event::RequestNoted),
        ],
    )
}
