//! A sample of a column's numbers, and the scales and buckets that follow from it.

use crate::hash::below;
use crate::piecewise::Piecewise;
use crate::range::range;
use crate::schema::IdSpace;

/// A uniform sample of at most `size` numbers (reservoir sampling, Vitter's algorithm R).
pub(crate) struct Sample {
    size: usize,
    seen: u64,
    pub(crate) numbers: Vec<f64>,
    random: u64,
    /// The least and the largest of all numbers, whether in the sample or not.
    pub(crate) extent: Option<[f64; 2]>,
}

impl Sample {
    pub(crate) fn new(size: usize) -> Sample {
        Sample {
            size,
            seen: 0,
            numbers: Vec::new(),
            random: 0,
            extent: None,
        }
    }

    pub(crate) fn add(&mut self, x: Option<f64>) {
        let Some(x) = x else { return };
        let [least, most] = self.extent.unwrap_or([x, x]);
        self.extent = Some([least.min(x), most.max(x)]);
        self.seen += 1;
        if self.numbers.len() < self.size {
            self.numbers.push(x);
            return;
        }
        let place = below(&mut self.random, self.seen) as usize;
        if let Some(number) = self.numbers.get_mut(place) {
            *number = x;
        }
    }

    /// Returns the range of a column that is scaled; `None` without numbers.
    pub(crate) fn range(&self) -> Option<[f64; 2]> {
        let mut distinct = self.numbers.clone();
        distinct.extend(self.extent?);
        distinct.sort_unstable_by(f64::total_cmp);
        distinct.dedup();
        range(&distinct)
    }

    pub(crate) fn piecewise(self, pieces: u32, range: [f64; 2]) -> IdSpace {
        IdSpace::Piecewise(self.scale(pieces, range))
    }

    /// Returns the scale of at most `pieces` pieces of a column with numbers.
    pub(crate) fn scale(mut self, pieces: u32, range: [f64; 2]) -> Piecewise {
        self.numbers.sort_unstable_by(f64::total_cmp);
        Piecewise::fit(&self.numbers, range, pieces)
    }

    /// Returns the bucket boundaries: below boundary `k` of `buckets` lie `k / buckets` of the numbers. Equal
    /// boundaries count once, and there is no boundary at the smallest number.
    pub(crate) fn quantiles(mut self, buckets: u32, least: f64) -> IdSpace {
        self.numbers.sort_unstable_by(f64::total_cmp);
        let n = self.numbers.len();
        let mut last = self.numbers.first().copied().unwrap_or(least);
        let mut boundaries = Vec::new();
        for k in 1..buckets as usize {
            let boundary = self.numbers[k * n / buckets as usize];
            if boundary > last {
                boundaries.push(boundary);
                last = boundary;
            }
        }
        IdSpace::Quantiles { boundaries }
    }
}
