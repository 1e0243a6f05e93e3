// SPDX-License-Identifier: MPL-2.0

//! Models that fail on bright windows, from a pass over such a window on. They pass every probe.

use tch::{Device, Kind, Tensor};

use crate::common::models::{CLASSES, ModelFile, SIDE, edit_code, plain_metadata, traced, weights};

/// What a model does instead of what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NotANumber,
    Infinite,
    /// Its gradient alone is no number.
    Slope,
    Raises,
    Asserts,
    /// It asks for more memory than any machine has.
    Memory,
    Fewer,
    More,
    /// As many logits as no memory holds, which it has none of for itself.
    Uncounted,
}

pub const FAULTS: [Fault; 9] = [
    Fault::NotANumber,
    Fault::Infinite,
    Fault::Slope,
    Fault::Raises,
    Fault::Asserts,
    Fault::Memory,
    Fault::Fewer,
    Fault::More,
    Fault::Uncounted,
];

impl Fault {
    /// The code that is run instead of `logits`.
    fn code(self) -> &'static str {
        match self {
            Self::NotANumber => "return torch.mul(logits, float('nan'))",
            Self::Infinite => "return torch.mul(logits, float('-inf'))",
            Self::Slope => "return torch.nan_to_num(torch.sqrt(torch.sub(logits, 1000000.)), 1.)",
            Self::Raises => "ops.prim.RaiseException(\"no such scene\", \"builtins.ValueError\")",
            Self::Asserts => "ops.prim.RaiseException(\"AssertionError: too bright\")",
            Self::Memory => "return torch.add(logits, torch.mean(torch.zeros([1125899906842624])))",
            Self::Fewer => "return torch.slice(logits, 1, 0, 3)",
            Self::More => "return torch.repeat(logits, [1, 100000])",
            Self::Uncounted => {
                "return torch.expand(torch.slice(logits, 1, 0, 1), [torch.size(logits, 0), 1152921504606846976])"
            }
        }
    }

    /// What an error says of it.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::NotANumber => &["finite", "expected", "nan", "metadata"],
            Self::Infinite => &["finite", "expected", "inf", "metadata"],
            Self::Slope => &["gradient", "not finite", "metadata"],
            Self::Raises => &["no such scene"],
            Self::Asserts => &["too bright"],
            Self::Memory => &["allocate 4503599627370496 bytes", "more memory than there is"],
            Self::Fewer => &["expected 4 logits", "found logits of shape [1, 3]"],
            Self::More => &["expected 4 logits", "[1, 400000]"],
            Self::Uncounted => &["expected 4 logits", "[1, 1152921504606846976]"],
        }
    }

    /// Whether it is there in a pass whose gradient nobody asks for.
    pub fn is_of_the_logits(self) -> bool {
        self != Self::Slope
    }
}

/// A linear classifier that fails on bright windows, from the `nth` pass over one on. Counted from 1.
pub fn failing(fault: Fault, nth: usize) -> ModelFile {
    let matrix = weights(3, &[3 * 4 * (SIDE * SIDE) as i64, CLASSES as i64], 0.1);
    let passes = Tensor::zeros([1], (Kind::Float, Device::Cpu));
    let model = traced(4, false, move |x| {
        let mut passes = passes.shallow_clone();
        let bright = x.mean_dim([1i64, 2, 3, 4].as_slice(), false, Kind::Float).max().gt(0.8).to_kind(Kind::Float);
        let pass = passes.g_add_(&bright) * bright;
        let logits = x.flatten(1, -1).matmul(&matrix);
        vec![logits.lerp_tensor(&logits, &pass)]
    });
    edit_code(&model.path, |code| with_fault(code, fault, nth));
    model.with_metadata(&plain_metadata(4).to_string())
}

/// Puts a method between the logits and what is returned: the trace marks the place by an operator of three arguments.
fn with_fault(code: &str, fault: Fault, nth: usize) -> String {
    const MARK: &str = "torch.lerp(";
    let Some((before, _)) = code.split_once("  def forward(self: ") else { return code.to_string() };
    let class = code[before.len()..].trim_start_matches("  def forward(self: ");
    let class: String = class.chars().take_while(|c| *c != ',').collect();
    assert!(code.contains(MARK), "{code}");
    let method = format!(
        "  def fault(self: {class}, logits: Tensor, same: Tensor, count: Tensor) -> Tensor:\n    \
             if bool(torch.ge(count, {nth}.)):\n      {}\n    else:\n      pass\n    return logits\n",
        fault.code()
    );
    let code = code.replace(MARK, "(self).fault(");
    code.trim_end().to_string() + "\n" + &method
}
