//! Writes the catalogue as a file that `souk import` reads.
//!
//! May depend on `shop`, `catalogue` and `domain`.

use std::{collections::btree_set, io::Write};

use crate::{
    catalogue::{
        entry::Entry,
        write::{WriteError, Writer},
    },
    domain::ids::ProductId,
    shop::{Error, Shop},
};

/// How much of the file is written at a time, in bytes: enough to make system calls rare.
const PART_BYTES: usize = 64 * 1024;

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

/// An export in progress. It reads each product when its turn comes, so it holds little more in memory than their ids.
#[derive(Debug)]
pub struct Export {
    shop: Shop,
    ids: btree_set::IntoIter<ProductId>,
    writer: Option<Writer<Vec<u8>>>,
    products: u64,
}

/// Writes every listed product with its stock on hand, a product's variants after it. Returns how many were written.
///
/// # Errors
/// [`ExportError`]; the file is then incomplete.
pub async fn export(shop: &Shop, mut output: impl Write) -> Result<u64, ExportError> {
    let mut export = Export::new(shop).await?;
    while let Some(lines) = export.next_lines().await? {
        output.write_all(lines.as_bytes()).map_err(WriteError::from)?;
    }
    output.flush().map_err(WriteError::from)?;
    Ok(export.products())
}

impl Export {
    /// Begins an export of all products that there are now.
    ///
    /// # Errors
    /// The shop cannot be read.
    pub async fn new(shop: &Shop) -> Result<Self, Error> {
        let ids = shop.product_ids().await?.into_iter();
        Ok(Self { shop: shop.clone(), ids, writer: Some(Writer::new(Vec::new())), products: 0 })
    }

    /// How many products were written so far.
    #[must_use]
    pub fn products(&self) -> u64 {
        self.products
    }

    /// The next lines of the file; `None` at its end.
    ///
    /// # Errors
    /// [`ExportError`]; the file is then incomplete.
    pub async fn next_lines(&mut self) -> Result<Option<String>, ExportError> {
        let Some(mut writer) = self.writer.take() else { return Ok(None) };
        while writer.written() < PART_BYTES {
            let Some(id) = self.ids.next() else {
                return Ok(Some(text(writer.finish()?)?).filter(|lines| !lines.is_empty()));
            };
            self.write(&id, &mut writer).await?;
        }
        let lines = text(writer.take())?;
        self.writer = Some(writer);
        Ok(Some(lines))
    }

    async fn write(&mut self, id: &ProductId, writer: &mut Writer<Vec<u8>>) -> Result<(), ExportError> {
        let Some(entry) = self.entry(id).await? else { return Ok(()) };
        if let Some(parent) = &entry.details.variant_of
            && let Some(parent) = self.entry(parent).await?
            && parent.details.variants.iter().any(|variant| variant.product == *id)
        {
            // A variant is written after its parent.
            return Ok(());
        }
        let variants = entry.details.variants.clone();
        writer.write(entry)?;
        self.products += 1;
        for variant in variants {
            // A parent may also refer to a product that is no variant.
            if let Some(entry) = self.entry(&variant.product).await?
                && entry.details.variant_of.as_ref() == Some(id)
            {
                writer.write(entry)?;
                self.products += 1;
            }
        }
        Ok(())
    }

    async fn entry(&self, id: &ProductId) -> Result<Option<Entry>, Error> {
        match self.shop.product(id, None).await {
            Ok(page) => {
                let stock = Some(page.stock.on_hand);
                Ok(Some(Entry { id: page.id, details: page.product.details.as_ref().clone(), stock }))
            }
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn text(lines: Vec<u8>) -> Result<String, WriteError> {
    String::from_utf8(lines).map_err(|error| WriteError::Output(std::io::Error::other(error)))
}
