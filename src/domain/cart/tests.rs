//! Given / when / then for the cart, and a property over everything that can arrive in any order.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_000);

fn line(product: &str, quantity: u32) -> Line {
    Line { product: product.parse().unwrap(), quantity }
}

fn add(product: &str, quantity: u32) -> Command {
    Command::Add { lines: vec![line(product, quantity)], currency: Currency::INR }
}

fn take(order: u128, version: u64, lines: Vec<Line>) -> Command {
    Command::Take { order: OrderId(order), fingerprint: order, version, lines }
}

fn given(commands: &[Command]) -> Cart {
    let mut cart = Cart::default();
    for command in commands {
        if let Some(event) = cart.decide(command, NOW).unwrap() {
            cart.apply(&event);
        }
    }
    cart
}

#[test]
fn quantities_of_one_product_are_summed_and_bounded() {
    let cart = given(&[add("a", 2), add("b", 1), add("a", 3)]);
    assert_eq!(*cart.view().lines, vec![line("a", 5), line("b", 1)]);
    let refused = cart.decide(&add("a", LINE_QUANTITY_MAX - 4), NOW);
    assert!(matches!(refused, Err(Rejection::InvalidQuantity { .. })));
    assert!(matches!(cart.decide(&add("a", 0), NOW), Err(Rejection::InvalidQuantity { .. })));
}

#[test]
fn the_number_of_lines_is_bounded() {
    let lines = (0..LINES_MAX).map(|number| line(&format!("p{number}"), 1)).collect();
    let cart = given(&[Command::Add { lines, currency: Currency::INR }]);
    assert_eq!(cart.decide(&add("one-more", 1), NOW), Err(Rejection::TooManyLines));
    assert!(cart.decide(&add("p0", 1), NOW).is_ok());
}

#[test]
fn one_currency_at_a_time() {
    let usd: Currency = "USD".parse().unwrap();
    let dollars = Command::Add { lines: vec![line("b", 1)], currency: usd };
    let cart = given(&[add("a", 1)]);
    let refused = cart.decide(&dollars, NOW);
    assert_eq!(refused, Err(Rejection::MixedCurrencies { cart: Currency::INR, product: usd }));
    let emptied = given(&[add("a", 1), Command::Remove { product: "a".parse().unwrap(), if_version: None }, dollars]);
    assert_eq!(*emptied.view().lines, vec![line("b", 1)]);
}

#[test]
fn two_tabs_cannot_order_one_cart_twice() {
    let cart = given(&[add("a", 2), take(1, 1, vec![line("a", 2)])]);
    assert!(cart.view().lines.is_empty());
    assert_eq!(cart.decide(&take(1, 1, vec![line("a", 2)]), NOW), Ok(None), "the same order again");
    let other_tab = cart.decide(&take(2, 1, vec![line("a", 2)]), NOW);
    assert_eq!(other_tab, Err(Rejection::Changed { current: 2 }));
}

#[test]
fn an_order_that_comes_to_nothing_gives_its_lines_back_once() {
    let back = Command::Return { order: OrderId(1) };
    let cart = given(&[add("a", 2), take(1, 1, vec![line("a", 2)]), add("a", 1), back.clone()]);
    assert_eq!(*cart.view().lines, vec![line("a", 3)]);
    assert_eq!(cart.decide(&back, NOW), Ok(None));
    assert_eq!(cart.decide(&take(1, 4, vec![]), NOW), Err(Rejection::OrderEnded), "a late take");
}

#[test]
fn a_return_that_overtakes_its_take_leaves_a_refusal_behind() {
    let cart = given(&[add("a", 2), Command::Return { order: OrderId(1) }]);
    assert_eq!(cart.decide(&take(1, 1, vec![line("a", 2)]), NOW), Err(Rejection::OrderEnded));
}

#[test]
fn open_orders_are_bounded() {
    let mut cart = given(&[add("a", 100)]);
    for order in 0..OPEN_ORDERS_MAX as u128 {
        let event = cart.decide(&take(order, cart.version, vec![line("a", 1)]), NOW).unwrap().unwrap();
        cart.apply(&event);
    }
    let refused = cart.decide(&take(99, cart.version, vec![line("a", 1)]), NOW);
    assert_eq!(refused, Err(Rejection::TooManyOpenOrders));
    cart.apply(&Event::Closed { order: OrderId(0) });
    assert!(cart.decide(&take(99, cart.version, vec![line("a", 1)]), NOW).unwrap().is_some());
}

#[test]
fn units_in_open_orders_are_unpaid_until_the_order_is_confirmed_or_ends() {
    let lines = || vec![line("a", 3), line("b", 1)];
    let ordered = [add("a", 9), add("b", 2), take(1, 2, lines()), take(2, 3, vec![line("a", 4)])];
    let check =
        |cart: &Cart, product: &str, requested| cart.view().check_unpaid([(&product.parse().unwrap(), requested)], 9);
    let cart = given(&ordered);
    assert_eq!((check(&cart, "a", 2), check(&cart, "b", 8), check(&cart, "c", 9)), (Ok(()), Ok(()), Ok(())));
    let refused = |product: &str, requested, unpaid| {
        Err(Rejection::TooManyUnpaidUnits { product: product.parse().unwrap(), requested, unpaid, units_max: 9 })
    };
    assert_eq!(check(&cart, "a", 3), refused("a", 3, 7));
    assert_eq!(check(&cart, "b", u32::MAX), refused("b", u32::MAX, 1));
    for ends in [Command::Close { order: OrderId(1) }, Command::Return { order: OrderId(1) }] {
        let cart = given(&[&ordered[..], &[ends]].concat());
        assert_eq!((check(&cart, "a", 5), check(&cart, "a", 6)), (Ok(()), refused("a", 6, 4)));
    }
}

fn any_command() -> impl Strategy<Value = Command> {
    let product = prop_oneof![Just("a"), Just("b"), Just("c")];
    prop_oneof![
        9 => (product.clone(), 0..4_u32).prop_map(|(product, quantity)| add(product, quantity)),
        9 => (product.clone(), 0..4_u32).prop_map(|(product, quantity)| Command::SetQuantity {
            line: line(product, quantity),
            currency: Currency::INR,
            if_version: None
        }),
        9 => product.clone().prop_map(|product| Command::Remove { product: product.parse().unwrap(), if_version: None }),
        9 => (0..4_u128, 0..20_u64, product, 1..4_u32).prop_map(|(order, version, product, quantity)| take(
            order,
            version,
            vec![line(product, quantity)]
        )),
        9 => (0..4_u128).prop_map(|order| Command::Return { order: OrderId(order) }),
        9 => (0..4_u128).prop_map(|order| Command::Close { order: OrderId(order) }),
        1 => Just(Command::Erase),
    ]
}

proptest! {
    /// Units only come from additions and only go by removals and orders; limits hold; what is not an addition repeats.
    #[test]
    fn units_are_conserved(commands in proptest::collection::vec(any_command(), 0..80)) {
        let mut cart = Cart::default();
        for command in commands {
            let units = |cart: &Cart| -> u32 {
                let open = cart.open_orders.iter().flat_map(|open| &open.lines);
                cart.lines.iter().chain(open).map(|line| line.quantity).sum()
            };
            let before = units(&cart);
            if let Ok(Some(event)) = cart.decide(&command, NOW) {
                cart.apply(&event);
                match &command {
                    Command::Take { .. } | Command::Return { .. } => prop_assert_eq!(units(&cart), before),
                    Command::Close { .. } | Command::Remove { .. } => prop_assert!(units(&cart) < before),
                    Command::Add { .. } => prop_assert!(units(&cart) > before),
                    Command::Erase => prop_assert_eq!(units(&cart), 0),
                    Command::SetQuantity { .. } => {}
                }
                if !matches!(command, Command::Add { .. }) {
                    let repeated = cart.decide(&command, NOW);
                    prop_assert!(matches!(repeated, Ok(None)), "a repeat of {command:?} gave {repeated:?}");
                }
            }
            prop_assert!(cart.lines.iter().all(|line| (1..=LINE_QUANTITY_MAX).contains(&line.quantity)));
            let open: u32 = cart.open_orders.iter().flat_map(|open| &open.lines).map(|line| line.quantity).sum();
            prop_assert_eq!(cart.view().unpaid.iter().map(|line| line.quantity).sum::<u32>(), open);
        }
    }
}

#[test]
fn an_erased_cart_is_empty_for_good() {
    let erase = |cart: &Cart| cart.decide(&Command::Erase, NOW);
    let open = given(&[add("a", 2), take(1, 1, vec![line("a", 1)])]);
    assert_eq!(erase(&open), Err(Rejection::OrdersOpen));
    let mut cart = given(&[add("a", 2), take(1, 1, vec![line("a", 1)]), Command::Close { order: OrderId(1) }]);
    let erased = erase(&cart).unwrap().unwrap();
    assert!(Cart::erases(&erased));
    cart.apply(&erased);
    assert_eq!((cart.view().lines.len(), cart.view().version), (0, 4), "a version is never used twice");
    assert_eq!(erase(&cart), Ok(None));
    let set = Command::SetQuantity { line: line("a", 1), currency: Currency::INR, if_version: None };
    let remove = Command::Remove { product: "a".parse().unwrap(), if_version: None };
    for refused in [add("a", 1), set, remove, take(2, 4, vec![]), take(1, 1, vec![line("a", 1)])] {
        assert_eq!(cart.decide(&refused, NOW), Err(Rejection::Erased), "{refused:?}");
    }
    for settled in [Command::Return { order: OrderId(2) }, Command::Close { order: OrderId(2) }] {
        assert_eq!(cart.decide(&settled, NOW), Ok(None), "{settled:?}");
    }
}
