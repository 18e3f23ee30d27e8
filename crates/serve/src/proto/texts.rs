//! The message `Texts` of `proto/ranking.proto`, as the compiler would make it but for where the texts lie:
//! in one buffer, not in an allocation each.

use ncs_features as features;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{
    DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint, key_len, skip_field,
    string,
};
use prost::{DecodeError, Message};

/// The number of `values`, its only field.
const VALUES: u32 = 1;

/// Values of a column of texts.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// All of them.
    pub values: features::Texts,
    /// The one that is being read.
    next: String,
}

impl PartialEq for Texts {
    fn eq(&self, other: &Texts) -> bool {
        self.values == other.values
    }
}

impl<S: AsRef<str>> FromIterator<S> for Texts {
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Texts {
        let mut values = features::Texts::default();
        let texts = texts.into_iter();
        texts.for_each(|text| values.push(text.as_ref().as_bytes()));
        Texts {
            values,
            next: String::new(),
        }
    }
}

impl Texts {
    fn lengths(&self) -> impl Iterator<Item = usize> {
        (0..self.values.len()).map(|i| self.values.get(i).len())
    }
}

impl Message for Texts {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        for i in 0..self.values.len() {
            let text = self.values.get(i);
            encode_key(VALUES, WireType::LengthDelimited, buffer);
            encode_varint(text.len() as u64, buffer);
            buffer.put_slice(text);
        }
    }

    fn merge_field(
        &mut self,
        field: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if field != VALUES {
            return skip_field(wire_type, field, buffer, context);
        }
        string::merge(wire_type, &mut self.next, buffer, context).map_err(|mut error| {
            error.push("Texts", "values");
            error
        })?;
        self.values.push(self.next.as_bytes());
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        let one = |length: usize| key_len(VALUES) + encoded_len_varint(length as u64) + length;
        self.lengths().map(one).sum()
    }

    fn clear(&mut self) {
        *self = Texts::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the compiler makes of the same message.
    #[derive(Clone, PartialEq, Message)]
    struct Made {
        #[prost(string, repeated, tag = "1")]
        values: Vec<String>,
        #[prost(uint32, tag = "2")]
        unknown: u32,
    }

    #[test]
    fn bytes_are_those_that_the_compilers_message_has() {
        let long = "ü".repeat(100);
        let made = Made {
            values: ["", "a", "v17", &long].map(str::to_owned).into(),
            unknown: 0,
        };
        let ours: Texts = made.values.iter().collect();
        assert_eq!(ours.encode_to_vec(), made.encode_to_vec());
        assert_eq!(ours.encoded_len(), made.encoded_len());
        let with_more = Made { unknown: 7, ..made };
        let read = Texts::decode(&*with_more.encode_to_vec()).unwrap();
        assert_eq!(read, ours);
    }

    #[test]
    fn what_is_cut_or_no_text_is_refused() {
        let whole = ["abc", "def"].iter().collect::<Texts>().encode_to_vec();
        for cut in [1, 3, 6, whole.len() - 1] {
            assert!(Texts::decode(&whole[..cut]).is_err(), "{cut}");
        }
        let error = Texts::decode(&[10, 1, 0xff][..]).unwrap_err();
        assert!(error.to_string().contains("Texts.values"), "{error}");
        assert!(Texts::decode(&[8, 1][..]).is_err(), "a number");
    }
}
