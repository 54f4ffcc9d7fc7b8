//! Compares two JSON values.

use serde_json::{Map, Value};

use super::Change;

/// Lists up to this many unmatched elements on each side are aligned exactly; the work grows with the
/// product.
const MAX_ALIGNED: usize = 512;

/// Where something stands: elements of lists have other places in the older state.
#[derive(Default)]
pub(super) struct Path {
    old: String,
    new: String,
}

impl Path {
    /// Calls `each` with the path of a member.
    fn at(&mut self, old: &str, new: &str, each: impl FnOnce(&mut Path)) {
        let lengths = (self.old.len(), self.new.len());
        for (path, member) in [(&mut self.old, old), (&mut self.new, new)] {
            path.push('/');
            path.push_str(&member.replace('~', "~0").replace('/', "~1"));
        }
        each(self);
        self.old.truncate(lengths.0);
        self.new.truncate(lengths.1);
    }

    fn element(&mut self, old: usize, new: usize, each: impl FnOnce(&mut Path)) {
        self.at(&old.to_string(), &new.to_string(), each);
    }

    fn remove(&self, old: &Value) -> Change {
        Change::Remove { path: self.old.clone(), old: old.clone() }
    }

    fn add(&self, value: &Value) -> Change {
        Change::Add { path: self.new.clone(), value: value.clone() }
    }
}

pub(super) fn compare(path: &mut Path, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => objects(path, old, new, changes),
        (Value::Array(old), Value::Array(new)) => arrays(path, old, new, changes),
        _ if old == new => {}
        _ => {
            let path = path.new.clone();
            changes.push(Change::Replace { path, old: old.clone(), value: new.clone() });
        }
    }
}

fn objects(path: &mut Path, old: &Map<String, Value>, new: &Map<String, Value>, changes: &mut Vec<Change>) {
    for (name, value) in old {
        path.at(name, name, |path| match new.get(name) {
            Some(new) => compare(path, value, new, changes),
            None => changes.push(path.remove(value)),
        });
    }
    for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        path.at(name, name, |path| changes.push(path.add(value)));
    }
}

fn arrays(path: &mut Path, old: &[Value], new: &[Value], changes: &mut Vec<Change>) {
    let front = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let back =
        old[front..].iter().rev().zip(new[front..].iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[front..old.len() - back], &new[front..new.len() - back]);
    let (mut i, mut j) = (0, 0);
    for (next_i, next_j) in common(old, new).into_iter().chain([(old.len(), new.len())]) {
        // Between two equal elements: pairs changed, the rest was added or removed.
        while i < next_i && j < next_j {
            path.element(front + i, front + j, |path| compare(path, &old[i], &new[j], changes));
            (i, j) = (i + 1, j + 1);
        }
        for (index, value) in new.iter().enumerate().take(next_j).skip(j) {
            path.element(front + i, front + index, |path| changes.push(path.add(value)));
        }
        for (index, value) in old.iter().enumerate().take(next_i).skip(i) {
            path.element(front + index, front + j, |path| changes.push(path.remove(value)));
        }
        (i, j) = (next_i + 1, next_j + 1);
    }
}

/// The positions of a longest common subsequence.
fn common(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    if old.is_empty() || new.is_empty() || old.len().max(new.len()) > MAX_ALIGNED {
        return Vec::new();
    }
    let width = new.len() + 1;
    let mut best = vec![0u16; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            best[i * width + j] = if old[i] == new[j] {
                best[(i + 1) * width + j + 1] + 1
            } else {
                best[(i + 1) * width + j].max(best[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if best[(i + 1) * width + j] >= best[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::diff;
    use super::*;

    fn changes(old: Value, new: Value) -> Value {
        serde_json::to_value(diff(&old, &new)).unwrap()
    }

    #[test]
    fn members_elements_and_values() {
        let old = json!({"step": 1, "gone": [], "a/b": {"~": 1}, "messages": [1, 2, 3]});
        let new = json!({"step": 2, "new": null, "a/b": {"~": 2}, "messages": [1, 9, 2, 3, 4]});
        assert_eq!(
            changes(old, new),
            json!([
                {"op": "replace", "path": "/a~1b/~0", "old": 1, "value": 2},
                {"op": "remove", "path": "/gone", "old": []},
                {"op": "add", "path": "/messages/1", "value": 9},
                {"op": "add", "path": "/messages/4", "value": 4},
                {"op": "replace", "path": "/step", "old": 1, "value": 2},
                {"op": "add", "path": "/new", "value": null},
            ])
        );
    }

    #[test]
    fn a_changed_element_is_looked_into_and_equal_states_have_no_changes() {
        assert_eq!(
            changes(json!([{"a": 1, "b": 2}, "x"]), json!([{"a": 1, "b": 3}, "x"])),
            json!([{"op": "replace", "path": "/0/b", "old": 2, "value": 3}])
        );
        assert_eq!(
            changes(json!([1, 2, 3, 4]), json!([2, 4])),
            json!([
                {"op": "remove", "path": "/0", "old": 1},
                {"op": "remove", "path": "/2", "old": 3},
            ])
        );
        assert_eq!(changes(json!({"a": [1]}), json!({"a": [1]})), json!([]));
        assert_eq!(
            changes(json!(1), json!([1])),
            json!([{"op": "replace", "path": "", "old": 1, "value": [1]}])
        );
    }

    /// What was removed is named where it was, also within an element that has another place now.
    #[test]
    fn removals_in_an_element_that_moved_are_named_in_the_older_state() {
        assert_eq!(
            changes(
                json!(["x", "y", {"a": 1, "b": 2, "c": [7, 8]}, "k"]),
                json!(["y", {"a": 3, "c": [7], "d": 4}, "k"])
            ),
            json!([
                {"op": "remove", "path": "/0", "old": "x"},
                {"op": "replace", "path": "/1/a", "old": 1, "value": 3},
                {"op": "remove", "path": "/2/b", "old": 2},
                {"op": "remove", "path": "/2/c/1", "old": 8},
                {"op": "add", "path": "/1/d", "value": 4},
            ])
        );
    }

    #[test]
    fn long_lists_cost_no_square() {
        let old: Vec<u32> = (0..100_000).collect();
        let mut new = old.clone();
        new[50_000] = 7;
        new.push(1);
        assert_eq!(diff(&json!(old), &json!(new)).len(), 2);
    }
}
