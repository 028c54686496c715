//! Writes the catalogue as a file that `souk import` reads.
//!
//! May depend on `shop` and `catalogue`.

use std::io::Write;

use crate::{
    catalogue::{
        entry::Entry,
        write::{WriteError, Writer},
    },
    shop::{Error, Shop},
};

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The shop cannot be read.
    #[error(transparent)]
    Shop(#[from] Error),
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes every listed product with its stock on hand, a product's variants after it. How many entries were written.
///
/// # Errors
/// [`ExportError`]; the file is then incomplete.
pub async fn export(shop: &Shop, output: impl Write) -> Result<u64, ExportError> {
    let mut writer = Writer::new(output);
    let mut written = 0;
    for id in shop.product_ids().await? {
        let Some(entry) = entry(shop, &id).await? else { continue };
        // Variants follow their parent, below.
        if entry.details.variant_of.is_some() {
            continue;
        }
        let variants: Vec<_> = entry.details.variants.iter().map(|variant| variant.product.clone()).collect();
        writer.write(entry)?;
        written += 1;
        for variant in variants {
            if let Some(entry) = self::entry(shop, &variant).await? {
                writer.write(entry)?;
                written += 1;
            }
        }
    }
    writer.finish()?;
    Ok(written)
}

async fn entry(shop: &Shop, id: &crate::domain::ids::ProductId) -> Result<Option<Entry>, Error> {
    match shop.product(id, None).await {
        Ok(page) => {
            let stock = Some(page.stock.on_hand);
            Ok(Some(Entry { id: page.id, details: page.product.details.as_ref().clone(), stock }))
        }
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
