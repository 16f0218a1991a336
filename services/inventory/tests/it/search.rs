//! What is found, and on which page.

use firstcome_proto::{
    Reason,
    inventory_v1::{CreateProductRequest, ListProductsRequest, ProductKind},
};

use crate::it::{
    app::{Replica, Shop},
    catalogue::{create, list, request},
};

/// Name, category, description.
const GOODS: [(&str, &str, &str); 9] = [
    ("나이키 에어맥스 97", "sneakers", "가벼운 러닝화"),
    ("한정판운동화 서울", "sneakers", ""),
    ("아디다스 운동복", "clothes", "봄에 입기 좋은 옷"),
    ("Night Runner", "sneakers", "A running shoe that glows."),
    ("GORE-TEX Trail", "boots", "Waterproof, 100% dry"),
    ("100_percent Cotton", "clothes", ""),
    ("Ｆｕｌｌ Width", "clothes", ""),
    // Decomposed, as some systems write it.
    ("\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af} 티셔츠", "clothes", ""),
    ("It's a \\ Bag", "bags", ""),
];

async fn stocked(replica: &Replica) {
    for (place, (name, category, description)) in GOODS.into_iter().enumerate() {
        let kind = if place % 2 == 0 { ProductKind::Limited } else { ProductKind::General };
        let new = CreateProductRequest {
            category: category.into(),
            description: description.into(),
            kind: kind as i32,
            ..request(&place.to_string(), name)
        };
        create(replica, new).await.unwrap();
    }
}

fn query(query: &str) -> ListProductsRequest {
    ListProductsRequest { query: query.into(), page_size: 100, ..Default::default() }
}

/// What each query finds in [`GOODS`], newest first.
const FINDS: [(&str, &[usize]); 40] = [
    // Two syllables: alone, at the beginning, in the middle, at the end of a word.
    ("나이", &[0]),
    ("운동", &[2, 1]),
    ("동화", &[1]),
    ("맥스", &[0]),
    ("서울", &[1]),
    ("화", &[1]),
    ("한정판운동화", &[1]),
    ("운동 서울", &[1]),
    ("한글", &[7]),
    ("셔츠", &[7]),
    // Of a description, words and how they begin.
    ("러닝", &[0]),
    ("가벼운 나이키", &[0]),
    ("glow", &[3]),
    ("lows", &[]),
    // Case and width are one.
    ("night", &[3]),
    ("RUNNER", &[3]),
    ("unne", &[3]),
    ("runn", &[3]),
    ("full", &[6]),
    ("ｎｉｇｈｔ", &[3]),
    // What means something to a pattern or a text search means itself.
    ("gore-tex", &[4]),
    ("00%", &[]),
    // A text has words and no signs.
    ("100%", &[5, 4]),
    ("0_p", &[5]),
    ("it's", &[8]),
    ("\\", &[8]),
    ("' | ! & <-> :* ( )", &[]),
    // Also what becomes such a sign when widths are made one.
    ("it＇s", &[8]),
    ("＇", &[8]),
    ("a＇b", &[8]),
    ("＇＇ ＇", &[]),
    ("＼", &[8]),
    ("﹨", &[8]),
    ("a＼", &[8, 3]),
    ("bag＼ ﹨", &[8]),
    ("＇:* ｜ ！", &[]),
    ("＆ （ ＜－＞ ）", &[]),
    ("：＊", &[]),
    // It becomes a space and a sign, and what becomes four words.
    ("\u{a8}", &[]),
    ("\u{fdfa}", &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_by_parts_and_texts_by_beginnings() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    stocked(&replica).await;
    for (words, places) in FINDS {
        let (found, _) = list(&replica, query(words)).await.expect(words);
        let want: Vec<_> = places.iter().map(|place| GOODS[*place].0).collect();
        assert_eq!(found, want, "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_each_other_and_page_without_gaps() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    stocked(&replica).await;
    let request = |words: &str, category: &str, kind: ProductKind| ListProductsRequest {
        category: category.into(),
        kind: kind as i32,
        ..query(words)
    };
    let any = ProductKind::Unspecified;
    let cases: [(ListProductsRequest, &[usize]); 6] = [
        (request("", "", any), &[8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (request("", "clothes", any), &[7, 6, 5, 2]),
        (request("", "clothes", ProductKind::General), &[7, 5]),
        (request("", "", ProductKind::Limited), &[8, 6, 4, 2, 0]),
        (request("운동", "sneakers", any), &[1]),
        (request("", "nothing", any), &[]),
    ];
    for (request, places) in &cases {
        let want: Vec<_> = places.iter().map(|place| GOODS[*place].0).collect();
        for page_size in [1, 2, 100] {
            let (mut found, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = ListProductsRequest { page_size, page_token, ..request.clone() };
                let page;
                (page, page_token) = list(&replica, request).await.unwrap();
                found.extend(page);
                if page_token.is_empty() {
                    break;
                }
            }
            assert_eq!(found, want, "{request:?} by {page_size}");
        }
    }
    // The token of one list is none of another's.
    let first = ListProductsRequest { page_size: 1, ..cases[1].0.clone() };
    let (_, page_token) = list(&replica, first).await.unwrap();
    for (other, _) in [&cases[0], &cases[2], &cases[3], &cases[4], &cases[5]] {
        let request = ListProductsRequest { page_token: page_token.clone(), ..other.clone() };
        let refusal = list(&replica, request).await.expect_err("another list");
        assert_eq!(refusal.reason(), Reason::InvalidArgument);
        assert_eq!(refusal.violations[0].field, "page_token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_knows_only_ascii_finds_the_same() {
    let shop = Shop::of_locale("C").await;
    let replica = shop.replica().await;
    stocked(&replica).await;
    for (words, places) in FINDS {
        let (found, _) = list(&replica, query(words)).await.expect(words);
        let want: Vec<_> = places.iter().map(|place| GOODS[*place].0).collect();
        assert_eq!(found, want, "{words}");
    }
}
