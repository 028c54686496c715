//! Accounts: registration, login, sessions, and authentication of requests.
//!
//! Depends on the rooms below.

use std::{net::IpAddr, sync::Arc};

use secrecy::SecretString;

use super::{Error, Missing, Shop, access};
use crate::{
    actors::reply::{AskError, Changed},
    config::Sellers,
    domain::{
        account::{Command, Decision, Edit, Holder, Profile, Role, Standing, View},
        entity::Timestamp,
        ids::{AccountId, SellerId, UserId},
        seller,
    },
    identity::{
        Issued, Principal, TokenError,
        passwords::{self, Verdict},
        random_u128,
        revocations::RevocationStatus,
    },
};

/// The family of a principal whom the embedding program has authenticated: no session of the shop. Those of sessions
/// are random.
const NO_SESSION: u128 = 0;

/// What a holder sees of their account.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPage {
    pub user: UserId,
    pub role: Role,
    pub profile: Profile,
    /// Whether a seller may sell.
    pub standing: Standing,
    /// What an admin has decided of that, last.
    pub decision: Option<Arc<Decision>>,
    pub created_at: Timestamp,
}

impl From<&Holder> for AccountPage {
    fn from(holder: &Holder) -> Self {
        let Holder { user, role, standing, created_at, .. } = *holder;
        let (profile, decision) = (holder.profile.clone(), holder.decision.clone());
        Self { user, role, profile, standing, decision, created_at }
    }
}

/// The result of a login or a refresh.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct Session {
    pub user: UserId,
    pub role: Role,
    pub tokens: Issued,
}

impl Shop {
    /// Creates an account. Customers and sellers register themselves; admins are created by [`Shop::ensure_account`]. A
    /// seller's name is the one that shoppers see. Where `registration.sellers` is `approval`, a seller sells nothing
    /// until an admin has [approved](Shop::decide_seller) it.
    ///
    /// # Errors
    /// The account's rejection: the address is taken.
    pub async fn register(
        &self,
        email: &str,
        password: SecretString,
        name: Option<String>,
        role: Role,
    ) -> Result<UserId, Error> {
        self.register_from(None, email, password, name, role).await
    }

    /// Like [`Shop::register`], for a peer: passwords are hashed by turns of peers, so that nobody keeps others out.
    ///
    /// # Errors
    /// As [`Shop::register`].
    pub async fn register_from(
        &self,
        peer: Option<IpAddr>,
        email: &str,
        password: SecretString,
        name: Option<String>,
        role: Role,
    ) -> Result<UserId, Error> {
        access::register_as(role)?;
        let account = self.0.identity.account_of(email)?;
        let password_hash = self.0.identity.passwords().hash(peer, password.clone()).await?;
        let user = UserId(random_u128());
        let name: Option<Arc<str>> = name.map(Arc::from);
        let standing = match (role, self.config().registration.sellers) {
            (Role::Seller, Sellers::Approval) => Standing::Waiting,
            _ => Standing::Free,
        };
        let register = Command::Register { user, role, password_hash, name: name.clone(), standing };
        let registered = self.ask_once(&self.0.runtime.entities.accounts, &account, register).await?;
        let user = match registered.changed {
            Changed::Yes => user,
            Changed::No | Changed::Repeat => self.registered_before(peer, password, registered.view.holder).await?,
        };
        if let (Role::Seller, Some(name)) = (role, name) {
            let named = self.0.runtime.entities.sellers.ask(&SellerId::of(user), seller::Command::Name(name)).await;
            // The account is there, so this is no failure of the registration. A seller can name itself at any time.
            if let Err(error) = named {
                tracing::warn!(seller = %SellerId::of(user), %error, "a new seller has no name yet");
            }
        }
        Ok(user)
    }

    /// Whom a repeat of a registration has registered before. Its password is compared here and not with its key: a
    /// fast hash of it would be easier to guess than the one that is stored.
    async fn registered_before(
        &self,
        peer: Option<IpAddr>,
        password: SecretString,
        holder: Option<Arc<Holder>>,
    ) -> Result<UserId, Error> {
        let holder = holder.ok_or(Error::Unknown)?;
        match self.0.identity.passwords().verify(peer, password, Some(&holder.password_hash)).await? {
            Verdict::Right => Ok(holder.user),
            Verdict::Wrong => Err(Error::KeyReused),
        }
    }

    /// Creates an account with this role and password, or changes an existing one to them. For operators and demos.
    ///
    /// # Errors
    /// The account's rejection.
    pub async fn ensure_account(&self, email: &str, password: SecretString, role: Role) -> Result<UserId, Error> {
        let account = self.0.identity.account_of(email)?;
        let known = self.0.runtime.entities.accounts.read(&account).await?.view.holder;
        let Some(holder) = known else {
            let password_hash = self.0.identity.passwords().hash(None, password).await?;
            let user = UserId(random_u128());
            let register = Command::Register { user, role, password_hash, name: None, standing: Standing::Free };
            self.0.runtime.entities.accounts.ask(&account, register).await?;
            return Ok(user);
        };
        let verdict = self.0.identity.passwords().verify(None, password.clone(), Some(&holder.password_hash)).await?;
        let is_new = verdict == Verdict::Wrong;
        if is_new {
            let password_hash = self.0.identity.passwords().hash(None, password).await?;
            self.revoking(account, Command::ChangePassword { password_hash, epoch: None, keeps: None }).await?;
        }
        if holder.role != role {
            let granted = self.revoking(account, Command::GrantRole { role }).await;
            granted.map_err(|error| if is_new { error.after_change() } else { error })?;
        }
        Ok(holder.user)
    }

    /// The caller's account.
    ///
    /// # Errors
    /// [`Error::Token`] if it was erased.
    pub async fn account(&self, who: &Principal) -> Result<AccountPage, Error> {
        let holder = self.0.runtime.entities.accounts.read(&who.account).await?.view.holder;
        Ok(AccountPage::from(&*access::hold_account(who, holder)?))
    }

    /// Changes what the caller says of themselves, if it has this version.
    ///
    /// # Errors
    /// The account's rejection; [`Error::Token`] if it was erased.
    pub async fn revise_account(
        &self,
        who: &Principal,
        name: Edit,
        contact: Edit,
        expected_version: Option<u64>,
    ) -> Result<AccountPage, Error> {
        self.account(who).await?;
        let revise = Command::Revise { name, contact, expected_version };
        let holder = self.0.runtime.entities.accounts.ask(&who.account, revise).await?.view.holder;
        Ok(AccountPage::from(&*access::hold_account(who, holder)?))
    }

    /// Changes the caller's password, which the old one confirms. All other sessions end, with their tokens and event
    /// streams; the caller's goes on with the tokens that this returns.
    ///
    /// # Errors
    /// [`Error::WrongCredentials`] for a wrong old password, [`Error::Password`] for a new one that breaks a rule.
    pub async fn change_password(
        &self,
        who: &Principal,
        old: SecretString,
        new: SecretString,
    ) -> Result<Session, Error> {
        self.change_password_from(None, who, old, new).await
    }

    /// Like [`Shop::change_password`], for a peer: passwords are hashed by turns of peers.
    ///
    /// # Errors
    /// As [`Shop::change_password`].
    pub async fn change_password_from(
        &self,
        peer: Option<IpAddr>,
        who: &Principal,
        old: SecretString,
        new: SecretString,
    ) -> Result<Session, Error> {
        let (identity, account) = (&self.0.identity, who.account);
        let holder = self.0.runtime.entities.accounts.read(&account).await?.view.holder;
        let holder = access::hold_account(who, holder)?;
        Self::check_password(&new)?;
        if identity.passwords().verify(peer, old, Some(&holder.password_hash)).await? == Verdict::Wrong {
            return Err(Error::WrongCredentials);
        }
        let password_hash = identity.passwords().hash(peer, new).await?;
        let keeps = (who.family != NO_SESSION).then_some(who.family);
        let change = Command::ChangePassword { password_hash, epoch: Some(holder.epoch), keeps };
        let changed = self.revoking(account, change).await?.holder.ok_or(Error::Token(TokenError::Revoked))?;
        match keeps {
            Some(family) => {
                let session = changed.family(family).ok_or(Error::Token(TokenError::Revoked))?;
                let tokens = identity.issue(account, &changed, session, self.0.clock.now())?;
                Ok(Session { user: changed.user, role: changed.role, tokens })
            }
            None => self.start_session(account, changed.epoch).await.map_err(Error::after_change),
        }
    }

    /// Checks a new password against the rules.
    ///
    /// # Errors
    /// [`Error::Password`].
    pub fn check_password(password: &SecretString) -> Result<(), Error> {
        Ok(passwords::check(password)?)
    }

    /// The id that the account of this address has, or would have.
    ///
    /// # Errors
    /// [`Error::Email`].
    pub(crate) fn account_of(&self, email: &str) -> Result<AccountId, Error> {
        Ok(self.0.identity.account_of(email)?)
    }

    /// Logs in: starts a session with its first tokens.
    ///
    /// # Errors
    /// [`Error::WrongCredentials`], for an unknown address after the same time as for a wrong password.
    pub async fn login(&self, email: &str, password: SecretString) -> Result<Session, Error> {
        self.login_from(None, email, password).await
    }

    /// Like [`Shop::login`], for a peer: passwords are verified by turns of peers, so that nobody keeps others out.
    ///
    /// # Errors
    /// As [`Shop::login`].
    pub async fn login_from(
        &self,
        peer: Option<IpAddr>,
        email: &str,
        password: SecretString,
    ) -> Result<Session, Error> {
        let account = self.0.identity.account_of(email)?;
        let known = self.0.runtime.entities.accounts.read(&account).await?.view.holder;
        let password_hash = known.as_ref().map(|holder| &holder.password_hash);
        let verdict = self.0.identity.passwords().verify(peer, password, password_hash).await?;
        match known {
            Some(holder) if verdict != Verdict::Wrong => self.start_session(account, holder.epoch).await,
            _ => Err(Error::WrongCredentials),
        }
    }

    /// Starts a session of an existing account without its password, for the operator, who has the keys anyway.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no account has this address.
    pub async fn vouch(&self, email: &str) -> Result<Session, Error> {
        let account = self.0.identity.account_of(email)?;
        let holder = self.0.runtime.entities.accounts.read(&account).await?.view.holder;
        self.start_session(account, holder.ok_or(Error::NotFound(Missing::Account))?.epoch).await
    }

    /// [Vouches](Shop::vouch) for the operator of a load run.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no account has this address, [`Error::Forbidden`] if it is a customer's.
    #[cfg(feature = "cli")]
    pub(crate) async fn vouch_for_operator(&self, email: &str) -> Result<Session, Error> {
        let session = self.vouch(email).await?;
        access::operate_load_run(session.role)?;
        Ok(session)
    }

    /// Creates a customer without a usable password, if no account has this address. For the operator, who can
    /// [vouch](Shop::vouch) for any number of them quickly, because no password is hashed.
    ///
    /// # Errors
    /// The text is not an address, or the storage failed.
    pub async fn ensure_customer_without_password(&self, email: &str) -> Result<(), Error> {
        let account = self.0.identity.account_of(email)?;
        if self.0.runtime.entities.accounts.read(&account).await?.view.holder.is_some() {
            return Ok(());
        }
        let password_hash = self.0.identity.passwords().unusable_hash().clone();
        let (user, role, standing) = (UserId(random_u128()), Role::Customer, Standing::Free);
        let register = Command::Register { user, role, password_hash, name: None, standing };
        self.0.runtime.entities.accounts.ask(&account, register).await?;
        Ok(())
    }

    /// Starts a session of an account that was authenticated in this epoch. If that ends another session, its access
    /// tokens end, too.
    pub(super) async fn start_session(&self, account: AccountId, epoch: u32) -> Result<Session, Error> {
        let (family, now) = (random_u128(), self.0.clock.now());
        let expires_at = self.0.identity.session_expires_at(now);
        let started = self.revoking(account, Command::StartSession { family, expires_at, epoch }).await?;
        let holder = started.holder.ok_or(Error::WrongCredentials)?;
        let session = holder.family(family).ok_or(Error::Unknown)?;
        let tokens = self.0.identity.issue(account, &holder, session, now)?;
        Ok(Session { user: holder.user, role: holder.role, tokens })
    }

    /// Exchanges a refresh token for new tokens. A token that was used before revokes its session, unless the request
    /// repeats an unanswered one within seconds.
    ///
    /// # Errors
    /// [`Error::RefreshReused`], [`Error::Token`].
    pub async fn refresh(&self, refresh_token: &str) -> Result<Session, Error> {
        let now = self.0.clock.now();
        let token = self.0.identity.read_refresh(refresh_token, now)?;
        let (family, counter) = (token.family, token.counter);
        let view = self.revoking(token.account, Command::Refresh { family, counter }).await?;
        let holder = view.holder.ok_or(Error::Token(TokenError::Revoked))?;
        let session = holder.successor(family, counter).ok_or(Error::RefreshReused)?;
        let tokens = self.0.identity.issue(token.account, &holder, session, now)?;
        Ok(Session { user: holder.user, role: holder.role, tokens })
    }

    /// The holder of an access token, also where its session has ended: to end it again, and nothing else.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub fn leaving(&self, access_token: &str) -> Result<Principal, Error> {
        Ok(self.0.identity.verify_ended(access_token, self.0.clock.now())?)
    }

    /// Ends the caller's session at once.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn logout(&self, who: &Principal) -> Result<(), Error> {
        self.revoking(who.account, Command::EndSession { family: who.family }).await?;
        Ok(())
    }

    /// Authenticates an access token. For tokens from before the start of the shop the account is asked, because only
    /// it knows earlier revocations.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub async fn authenticate(&self, access_token: &str) -> Result<Principal, Error> {
        let principal = self.0.identity.verify(access_token, self.0.clock.now())?;
        if principal.revocation == RevocationStatus::Unknown {
            self.check_still_valid(&principal).await?;
        }
        Ok(principal)
    }

    /// Checks a principal against the clock and its account.
    ///
    /// # Errors
    /// [`Error::Token`]: it has expired, or was revoked.
    pub(super) async fn check_still_valid(&self, who: &Principal) -> Result<(), Error> {
        if who.expires_at.has_come(self.0.clock.now()) {
            return Err(Error::Token(TokenError::Expired { expired_at: who.expires_at }));
        }
        let holder = self.0.runtime.entities.accounts.read(&who.account).await?.view.holder;
        let holder = access::hold_account(who, holder)?;
        let is_valid = match who.family {
            NO_SESSION => who.epoch >= holder.epoch,
            family => holder.honours(family, who.epoch),
        };
        if is_valid { Ok(()) } else { Err(Error::Token(TokenError::Revoked)) }
    }

    /// A principal for a program that embeds the shop and authenticates its users itself.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no account has this address.
    pub async fn principal(&self, email: &str) -> Result<Principal, Error> {
        let account = self.0.identity.account_of(email)?;
        let holder: Arc<Holder> = self
            .0
            .runtime
            .entities
            .accounts
            .read(&account)
            .await?
            .view
            .holder
            .ok_or(Error::NotFound(Missing::Account))?;
        let now = self.0.clock.now();
        Ok(Principal {
            user: holder.user,
            account,
            role: holder.role,
            epoch: holder.epoch,
            family: NO_SESSION,
            issued_at: now,
            expires_at: self.0.identity.session_expires_at(now),
            revocation: RevocationStatus::Good,
        })
    }

    /// Executes a command that can end sessions or raise the epoch, and revokes the access tokens that are not valid
    /// any more. In a task: a caller that stops waiting does not leave tokens valid.
    pub(super) async fn revoking(&self, account: AccountId, command: Command) -> Result<View, Error> {
        let shop = self.clone();
        let executed = tokio::spawn(async move {
            let executed = shop.ask_once(&shop.0.runtime.entities.accounts, &account, command.clone()).await;
            if let Err(AskError::Unknown) = &executed {
                // It may have ended tokens, and the account will know which.
                shop.0.identity.ask_accounts(shop.0.clock.now());
            }
            let view = executed?.view;
            let (identity, now, holder) = (&shop.0.identity, shop.0.clock.now(), view.holder.as_deref());
            match command {
                Command::StartSession { .. } => {
                    let replaced = holder.into_iter().flat_map(|holder| &holder.replaced);
                    replaced.for_each(|family| identity.revoke_session(*family, now));
                }
                // A refresh token that was used before has ended its session; a valid one has not.
                Command::EndSession { family } | Command::Refresh { family, .. } => {
                    if holder.is_none_or(|holder| holder.family(family).is_none()) {
                        identity.revoke_session(family, now);
                    }
                }
                _ => {
                    let former = view.former.as_ref().map(|former| former.epoch);
                    let epoch = holder.map(|holder| holder.epoch).or(former);
                    identity.revoke_account(account, epoch.unwrap_or(0), now);
                }
            }
            Ok::<_, Error>(view)
        });
        executed.await.map_err(Error::fault)?
    }
}
