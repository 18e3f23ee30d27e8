//! Which instructions this processor has.

/// A set of vector instructions. A value of this type says that the processor has them: only
/// [`SimdLevel::best`] and [`SimdLevel::all`] make one, from what they detect.
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
    /// What the compiler assumes of every machine of this architecture.
    pub const PORTABLE: SimdLevel = SimdLevel(Isa::Portable);

    /// The best there is.
    pub fn best() -> SimdLevel {
        SimdLevel::all().pop().unwrap_or(SimdLevel::PORTABLE)
    }

    /// All there are, the best last.
    pub fn all() -> Vec<SimdLevel> {
        let mut all = vec![SimdLevel::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            // The standard library keeps what it has detected.
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

    /// Whether it has dot products in half precision (bfloat16).
    pub fn has_half(self) -> bool {
        match self.0 {
            Isa::Portable => false,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => false,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => is_x86_feature_detected!("avx512bf16"),
        }
    }

    pub(crate) fn set(self) -> Isa {
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
