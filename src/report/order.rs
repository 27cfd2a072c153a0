//! Members and the report of them, matched by name.

/// Puts `items` into the order of `names`, where they are called exactly so; else they stay as they are.
pub fn order_by_names<T>(names: &[String], items: &mut [T], called: impl Fn(&T) -> String) {
    let place = |item: &T| names.iter().position(|name| *name == called(item));
    let mut places: Vec<Option<usize>> = items.iter().map(place).collect();
    places.sort_unstable();
    if places.iter().copied().eq((0..names.len()).map(Some)) {
        items.sort_by_key(place);
    }
}

#[cfg(test)]
mod tests {
    use super::order_by_names;

    #[test]
    fn names_decide_where_they_are_the_same() {
        for (names, items, expected, why) in [
            ("abc", "cab", "abc", "the same in another order"),
            ("abc", "cad", "cad", "one is called otherwise"),
            ("aab", "bab", "bab", "a name that stands twice tells nothing"),
            ("abc", "ca", "ca", "one is missing"),
        ] {
            let names: Vec<String> = names.chars().map(String::from).collect();
            let mut items: Vec<char> = items.chars().collect();
            order_by_names(&names, &mut items, ToString::to_string);
            assert_eq!(items.iter().collect::<String>(), expected, "{why}");
        }
    }
}
