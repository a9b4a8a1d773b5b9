//! Lists of words as text, a comma between two: they are read by people far more often than by the program.

/// The words of a list.
pub(super) fn each(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_word_is_empty() {
        assert_eq!(super::each("\n a b,\n c,,\n").collect::<Vec<_>>(), ["a b", "c"]);
    }
}
