// SPDX-License-Identifier: MPL-2.0

//! Cuts the source of a traced method in two: what it makes of each frame by itself, and what of the window.

use anyhow::{Context, Result};

/// Cuts `forward` where its features are made of the frames' codes: into `encode_frames` and `classify_features`.
pub fn halve(source: &str) -> Result<String> {
    let expected =
        || format!("expected a method that flattens its frames and unflattens its features, found:\n{source}");
    let cut = || -> Option<String> {
        let (class, forward) = source.split_once("  def forward(self: ")?;
        let (this, rest) = forward.split_once(",\n    ")?;
        let (argument, rest) = rest.split_once(": Tensor) -> Tuple[Tensor, Tensor]:\n")?;
        let (body, results) = rest.split_once("    return (")?;
        let (logits, features) = results.trim_end().strip_suffix(')')?.split_once(", ")?;
        let made = format!("    {features} = torch.unflatten(");
        let (encode, rest) = body.split_once(&made)?;
        let (unflatten, classify) = rest.split_once('\n')?;
        let (codes, dimensions) = unflatten.strip_suffix(')')?.rsplit_once(", 0, ")?;
        let flattened = format!("torch.flatten({argument}, 0, 1)");
        if encode.matches(argument).count() != 1 || !encode.contains(&flattened) || classify.contains(argument) {
            return None;
        }
        let encode = encode.replace(&flattened, argument);
        Some(format!(
            "{class}  def encode_frames(self: {this},\n    {argument}: Tensor) -> Tensor:\n{encode}    return {codes}\n\
             \x20 def classify_features(self: {this},\n    {features}: Tensor) -> Tensor:\n{classify}    return {logits}\n\
             \x20 def forward(self: {this},\n    {argument}: Tensor) -> Tuple[Tensor, Tensor]:\n\
             \x20   {features} = torch.unflatten((self).encode_frames({flattened}, ), 0, {dimensions})\n\
             \x20   return ((self).classify_features({features}, ), {features})\n"
        ))
    };
    cut().with_context(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_cut_at_its_features() {
        let source = "class C(Module):\n  def forward(self: C,\n    x: Tensor) -> Tuple[Tensor, Tensor]:\n    _0 = torch.relu(torch.flatten(x, 0, 1))\n    \
                      _1 = torch.unflatten(torch.neg(_0), 0, [-1, 4])\n    _2 = torch.sum(_1)\n    return (_2, _1)\n";
        let cut = "class C(Module):\n  def encode_frames(self: C,\n    x: Tensor) -> Tensor:\n    _0 = torch.relu(x)\n    return torch.neg(_0)\n  \
                   def classify_features(self: C,\n    _1: Tensor) -> Tensor:\n    _2 = torch.sum(_1)\n    return _2\n  def forward(self: C,\n    \
                   x: Tensor) -> Tuple[Tensor, Tensor]:\n    _1 = torch.unflatten((self).encode_frames(torch.flatten(x, 0, 1), ), 0, [-1, 4])\n    \
                   return ((self).classify_features(_1, ), _1)\n";
        assert_eq!(halve(source).unwrap(), cut);
        assert!(halve(cut).is_err());
    }
}
