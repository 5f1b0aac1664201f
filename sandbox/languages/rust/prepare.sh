# Compiles the crates that HumanEvalPack's tests ask for once, into /usr/lib/touchstone/crates. Those tests are written
# for rand 0.4, which Debian lacks: its interface, as far as they and what models write use it, is put over rand 0.8.
mkdir -p /tmp/crates/src /tmp/crates/rand/src /tmp/crates/.cargo /usr/lib/touchstone/crates
cd /tmp/crates
cat >Cargo.toml <<'END'
[package]
name = "crates"
version = "0.1.0"
edition = "2021"

[dependencies]
rand04 = { path = "rand" }
regex = "1"
md5 = "0.7"
END
cat >rand/Cargo.toml <<'END'
[package]
name = "rand04"
version = "0.4.0"
edition = "2021"

[dependencies]
newer = { package = "rand", version = "0.8" }
END
cat >rand/src/lib.rs <<'END'
pub use newer::{distributions, random, rngs, seq, thread_rng, RngCore, SeedableRng};
pub use newer::rngs::{StdRng, ThreadRng};
use newer::distributions::{uniform::SampleUniform, Distribution, Standard};
use newer::seq::SliceRandom;

pub trait Rng: RngCore {
    fn gen<T>(&mut self) -> T where Standard: Distribution<T> {
        newer::Rng::gen(self)
    }
    fn gen_range<T: SampleUniform + PartialOrd>(&mut self, low: T, high: T) -> T {
        newer::Rng::gen_range(self, low..high)
    }
    fn gen_weighted_bool(&mut self, n: u32) -> bool {
        n <= 1 || self.gen_range(0, n) == 0
    }
    fn choose<'a, T>(&mut self, values: &'a [T]) -> Option<&'a T> {
        values.choose(self)
    }
    fn shuffle<T>(&mut self, values: &mut [T]) {
        values.shuffle(self)
    }
}

impl<R: RngCore + ?Sized> Rng for R {}
END
cat >.cargo/config.toml <<'END'
[source.crates-io]
replace-with = "debian"

[source.debian]
directory = "/usr/share/cargo/registry"
END
: >src/lib.rs
CARGO_HOME=/tmp/crates/home cargo build --offline
rm target/debug/deps/libcrates-*
cp target/debug/deps/*.rlib target/debug/deps/*.so /usr/lib/touchstone/crates/
cd /usr/lib/touchstone/crates
for crate in rand04 regex md5; do mv lib$crate-*.rlib lib$crate.rlib; done
rm -rf /tmp/crates /usr/share/cargo/registry
