//! What a change keeps of a product: what its source cannot state, such as the column that a file does not have.
//!
//! Depends on `serde` and its neighbour `details`.

use serde::{Deserialize, Serialize};

use crate::domain::product::Details;

/// A part of the details that stays as it is where a change does not state it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kept {
    Price,
    Description,
    Brand,
    Category,
    /// The pictures and the thumbnail.
    Pictures,
    Rating,
    /// The attributes of this name.
    Attribute(String),
}

impl Details {
    /// Takes these parts from `before`, where they are not stated here.
    pub fn keep(&mut self, kept: &[Kept], before: &Self) {
        for part in kept {
            match part {
                Kept::Price => self.price = self.price.or(before.price),
                Kept::Description if self.description.is_empty() => self.description.clone_from(&before.description),
                Kept::Brand if self.brand.is_none() => self.brand.clone_from(&before.brand),
                Kept::Category if self.category.is_empty() => self.category.clone_from(&before.category),
                Kept::Pictures if self.pictures.is_empty() => {
                    self.pictures.clone_from(&before.pictures);
                    self.thumbnail.clone_from(&before.thumbnail);
                }
                Kept::Rating => self.imported_rating = self.imported_rating.or(before.imported_rating),
                Kept::Attribute(name) if self.attributes.iter().all(|(stated, _)| stated != name) => {
                    self.attributes.extend(before.attributes.iter().filter(|(known, _)| known == name).cloned());
                }
                Kept::Description | Kept::Brand | Kept::Category | Kept::Pictures | Kept::Attribute(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stated_replaces_what_is_kept() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let before = Details {
            title: "Old".into(),
            description: "Long".into(),
            brand: Some("Acme".into()),
            attributes: vec![pair("ean", "1"), pair("tags", "x")],
            ..Details::default()
        };
        let stated = Details { title: "New".into(), brand: Some("Other".into()), ..Details::default() };
        let mut details = stated.clone();
        details.keep(&[], &before);
        assert_eq!(details, stated);
        details.keep(&[Kept::Description, Kept::Brand, Kept::Attribute("ean".into())], &before);
        assert_eq!((details.title.as_str(), details.description.as_str()), ("New", "Long"));
        assert_eq!((details.brand.as_deref(), details.attributes), (Some("Other"), vec![pair("ean", "1")]));
    }
}
