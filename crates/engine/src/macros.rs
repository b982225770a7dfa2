//! Derives shared by everything a front end sees, written once.

/// Gives each item the derives of a view: what the engine hands to a front end, with its TypeScript.
macro_rules! view {
    ($($item:item)*) => {
        $(
            #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, ts_rs::TS)]
            $item
        )*
    };
}
