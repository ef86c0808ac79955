//! TOML into a type, strictly: an unknown key is an error that names the nearest known one, and
//! every error says the source, the line and the path of the key.
//!
//! The known keys are the fields that the type itself hands to serde, so there is no list to keep.
//! Serde does not show them for flattened structs and for untagged or internally tagged enums: give
//! a type that is read here plain structs.

mod one_or_more;

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use one_or_more::OneOrMore;

/// What is wrong with a TOML text; lists all unknown keys at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct StrictError {
    /// One sentence each, in the order of the text.
    pub problems: Vec<String>,
}

/// Reads a `T` from TOML. `source_name` (a path) is what messages call the text.
pub fn from_toml<T: DeserializeOwned>(text: &str, source_name: &str) -> Result<T, StrictError> {
    read(&parse(text, source_name)?, text, source_name)
}

/// Reads a `T` from `base` with each key that `over` holds replaced, tables one key at a time.
/// Messages speak of `over`, so `base` must be valid by itself.
pub fn from_toml_over<T: DeserializeOwned>(
    base: &str,
    over: &str,
    source_name: &str,
) -> Result<T, StrictError> {
    let mut merged = parse(base, "base")?;
    merge(merged.get_mut(), parse(over, source_name)?.into_inner());
    read(&merged, over, source_name)
}

/// `"; did you mean `x`?"` for the nearest of the known names, or nothing if none is near.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, nearest)| format!("; did you mean `{nearest}`?"))
        .unwrap_or_default()
}

fn parse<'t>(text: &'t str, source_name: &str) -> Result<Spanned<DeTable<'t>>, StrictError> {
    DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        StrictError { problems: vec![format!("{source_name}:{line}: {}", error.message())] }
    })
}

fn merge<'t>(base: &mut DeTable<'t>, over: DeTable<'t>) {
    for (key, value) in over {
        match (base.get_mut(key.get_ref().as_ref()), value) {
            (Some(old), new) if old.get_ref().is_table() && new.get_ref().is_table() => {
                if let (DeValue::Table(old), DeValue::Table(new)) =
                    (old.get_mut(), new.into_inner())
                {
                    merge(old, new);
                }
            }
            (_, new) => {
                // A map keeps the old key with its old position when only the value is replaced.
                base.remove(key.get_ref().as_ref());
                base.insert(key, new);
            }
        }
    }
}

fn read<T: DeserializeOwned>(
    table: &Spanned<DeTable<'_>>,
    text: &str,
    source_name: &str,
) -> Result<T, StrictError> {
    let unknown = RefCell::new(Vec::new());
    let path = String::new();
    let root = Table { table: table.get_ref(), span: table.span(), path: &path, unknown: &unknown };
    let result = T::deserialize(root);
    let mut problems = unknown.into_inner();
    if problems.is_empty()
        && let Err(error) = &result
    {
        problems.push((error.offset.unwrap_or(0), error.message.clone()));
    }
    problems.sort();
    match result {
        Ok(value) if problems.is_empty() => Ok(value),
        _ => Err(StrictError {
            problems: problems
                .into_iter()
                .map(|(at, message)| format!("{source_name}:{}: {message}", line_of(text, at)))
                .collect(),
        }),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// Offsets into the text, with what is wrong there.
type Problems = RefCell<Vec<(usize, String)>>;

/// An error on its way up; the innermost node that it passes says where it was.
#[derive(Debug)]
struct Error {
    message: String,
    offset: Option<usize>,
}

impl Error {
    fn at(self, path: &str, span: &Range<usize>) -> Self {
        if self.offset.is_some() {
            return self;
        }
        let message =
            if path.is_empty() { self.message } else { format!("`{path}`: {}", self.message) };
        Self { message, offset: Some(span.start) }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl serde::de::Error for Error {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self { message: message.to_string(), offset: None }
    }
}

/// One value of the document, with the path that leads to it.
struct Node<'a, 't> {
    value: &'a Spanned<DeValue<'t>>,
    path: String,
    unknown: &'a Problems,
}

/// A table; apart from [`Node`] because the document's root is one without being a value.
struct Table<'a, 't> {
    table: &'a DeTable<'t>,
    span: Range<usize>,
    path: &'a str,
    unknown: &'a Problems,
}

impl<'a, 't> Node<'a, 't> {
    fn as_table(&self) -> Option<Table<'_, 't>> {
        let table = self.value.get_ref().as_table()?;
        Some(Table { table, span: self.value.span(), path: &self.path, unknown: self.unknown })
    }

    fn visit<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Error> {
        match self.value.get_ref() {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Datetime(value) => visitor.visit_string(value.to_string()),
            DeValue::Float(float) => match float.as_str().parse() {
                Ok(value) => visitor.visit_f64(value),
                Err(_) => Err(Error::custom(format!("`{float}` is no number"))),
            },
            DeValue::Integer(integer) => {
                let (digits, radix) = (integer.as_str(), integer.radix());
                match (i64::from_str_radix(digits, radix), u64::from_str_radix(digits, radix)) {
                    (Ok(value), _) => visitor.visit_i64(value),
                    (_, Ok(value)) => visitor.visit_u64(value),
                    _ => Err(Error::custom(format!("`{integer}` does not fit into 64 bits"))),
                }
            }
            DeValue::Array(array) => visitor.visit_seq(Elements {
                nodes: array.iter().enumerate().map(|(index, value)| Node {
                    value,
                    path: format!("{}[{index}]", self.path),
                    unknown: self.unknown,
                }),
            }),
            DeValue::Table(_) => match self.as_table() {
                Some(table) => table.deserialize_any(visitor),
                None => Err(Error::custom("not a table")),
            },
        }
    }
}

impl<'de> Deserializer<'de> for Node<'_, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit(visitor).map_err(|error| error.at(&self.path, &self.value.span()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value.get_ref() {
            DeValue::Array(_) if name == one_or_more::NAME => self.deserialize_any(visitor),
            _ if name == one_or_more::NAME => {
                visitor.visit_seq(Elements { nodes: std::iter::once(self) })
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.as_table() {
            Some(table) => table.deserialize_struct(name, fields, visitor),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match self.value.get_ref() {
            DeValue::String(text) if !variants.contains(&text.as_ref()) => {
                Err(Error::custom(format!(
                    "unknown value `{text}`{}; expected one of: {}",
                    did_you_mean(text, variants.iter().copied()),
                    variants.join(", ")
                )))
            }
            DeValue::String(text) => {
                let plain: StrDeserializer<'_, Error> = text.as_ref().into_deserializer();
                visitor.visit_enum(plain)
            }
            DeValue::Table(table) if table.len() == 1 => {
                visitor.visit_enum(Variant { table, path: &self.path, unknown: self.unknown })
            }
            other => Err(Error::invalid_type(Unexpected::Other(other.type_str()), &visitor)),
        };
        result.map_err(|error| error.at(&self.path, &self.value.span()))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for Table<'_, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (path, span) = (self.path, self.span.clone());
        visitor.visit_map(Entries::new(self, None)).map_err(|error| error.at(path, &span))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (path, span) = (self.path, self.span.clone());
        visitor.visit_map(Entries::new(self, Some(fields))).map_err(|error| error.at(path, &span))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn child_path(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

type Entry<'a, 't> = (&'a Spanned<std::borrow::Cow<'t, str>>, &'a Spanned<DeValue<'t>>);

struct Entries<'a, 't> {
    entries: std::vec::IntoIter<Entry<'a, 't>>,
    value: Option<Node<'a, 't>>,
    path: &'a str,
    unknown: &'a Problems,
}

impl<'a, 't> Entries<'a, 't> {
    /// Notes each key that is not among the fields, and leaves it out.
    fn new(table: Table<'a, 't>, fields: Option<&'static [&'static str]>) -> Self {
        let Table { table, path, unknown, .. } = table;
        let known = |key: &Spanned<std::borrow::Cow<'_, str>>| {
            let name = key.get_ref().as_ref();
            let Some(fields) = fields.filter(|fields| !fields.contains(&name)) else { return true };
            let hint = match did_you_mean(name, fields.iter().copied()) {
                nearest if nearest.is_empty() => format!("; known here: {}", fields.join(", ")),
                nearest => nearest,
            };
            let problem = format!("unknown key `{}`{hint}", child_path(path, name));
            unknown.borrow_mut().push((key.span().start, problem));
            false
        };
        let entries: Vec<_> = table.iter().filter(|(key, _)| known(key)).collect();
        Self { entries: entries.into_iter(), value: None, path, unknown }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let name = key.get_ref().as_ref();
        let path = child_path(self.path, name);
        self.value = Some(Node { value, path, unknown: self.unknown });
        let name: StringDeserializer<Error> = name.to_owned().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match self.value.take() {
            Some(node) => seed.deserialize(node),
            None => Err(Error::custom("a value was asked for before its key")),
        }
    }
}

struct Elements<I> {
    nodes: I,
}

impl<'de, 'a, 't: 'a, I: Iterator<Item = Node<'a, 't>>> SeqAccess<'de> for Elements<I> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        self.nodes.next().map(|node| seed.deserialize(node)).transpose()
    }
}

/// An enum's variant with content: a table of one key.
struct Variant<'a, 't> {
    table: &'a DeTable<'t>,
    path: &'a str,
    unknown: &'a Problems,
}

impl<'de, 'a, 't> EnumAccess<'de> for Variant<'a, 't> {
    type Error = Error;
    type Variant = Node<'a, 't>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Error> {
        let (key, value) = self.table.iter().next().ok_or_else(|| Error::custom("empty table"))?;
        let name = key.get_ref().as_ref();
        let node = Node { value, path: child_path(self.path, name), unknown: self.unknown };
        let name: StringDeserializer<Error> = name.to_owned().into_deserializer();
        Ok((seed.deserialize(name)?, node))
    }
}

impl<'de> VariantAccess<'de> for Node<'_, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Err(Error::custom("takes no content").at(&self.path, &self.value.span()))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests;
