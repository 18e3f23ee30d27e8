//! Detection of the processor's vector instructions.

/// A set of vector instructions. A value of this type proves that the processor supports them: only
/// [`SimdLevel::best`] and [`SimdLevel::all`] create one, from what they detect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimdLevel(Isa);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl SimdLevel {
    /// The baseline instructions of the architecture.
    pub const PORTABLE: SimdLevel = SimdLevel(Isa::Portable);

    /// Returns the best level of this processor.
    pub fn best() -> SimdLevel {
        SimdLevel::all().pop().unwrap_or(SimdLevel::PORTABLE)
    }

    /// Returns all levels of this processor, the best last.
    pub fn all() -> Vec<SimdLevel> {
        let mut all = vec![SimdLevel::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            // The standard library caches the detected features.
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx2 {
                all.push(SimdLevel(Isa::Avx2));
            }
            if avx2 && avx512 {
                all.push(SimdLevel(Isa::Avx512));
            }
        }
        all
    }

    /// Returns true if the level has dot products in half precision (bfloat16).
    pub fn has_half(self) -> bool {
        match self.0 {
            Isa::Portable => false,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => false,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => is_x86_feature_detected!("avx512bf16"),
        }
    }

    pub(crate) fn isa(self) -> Isa {
        self.0
    }
}

impl std::fmt::Display for SimdLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "AVX-512",
        })
    }
}
