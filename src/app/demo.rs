//! Fills a shop for a demonstration: a catalogue made by the program itself, and three logins. Never in a real shop:
//! the passwords are known.
//!
//! May depend on `shop`, `catalogue` and `domain`.

use secrecy::SecretString;

use super::import::{ImportError, import_entries};
use crate::{
    catalogue::demo::DemoCatalogue,
    domain::{account::Role, ids::SellerId, product::Editor},
    shop::Shop,
};

/// The password of all demo logins.
pub const PASSWORD: &str = "souk-demo-password";
const SELLER_NAME: &str = "Demo Bazaar";
/// The e-mail address and role of each demo login.
pub const LOGINS: [(&str, Role); 3] = [
    ("customer@demo.example", Role::Customer),
    ("seller@demo.example", Role::Seller),
    ("admin@demo.example", Role::Admin),
];

/// Makes the logins and the catalogue of this seed and size. A catalogue that already exists is left alone, with its
/// sales.
///
/// # Errors
/// The shop cannot be written to.
pub async fn fill(shop: &Shop, seed: u64, products: usize) -> Result<(), ImportError> {
    let mut seller = None;
    for (email, role) in LOGINS {
        let user = shop.ensure_account(email, SecretString::from(PASSWORD), role).await?;
        if role == Role::Seller {
            let id = SellerId::of(user);
            if shop.seller(id).await.is_err() {
                shop.name_seller(&shop.principal(email).await?, id, SELLER_NAME).await?;
            }
            seller = Some(id);
        }
    }
    let Some(seller) = seller else { return Ok(()) };
    // The last product is put after all others, so if it exists, all exist.
    let last = DemoCatalogue::only(seed, products);
    let filled = match last.clone().next() {
        Some(entry) => shop.product(&entry.id, None).await.is_ok(),
        None => true,
    };
    if !filled {
        tracing::info!(products, seed, "making the demo catalogue");
        let editor = Editor::Seller(seller);
        import_entries(shop, DemoCatalogue::new(seed, products - 1), editor).await?;
        import_entries(shop, last, editor).await?;
    }
    Ok(())
}
