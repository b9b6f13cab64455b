## The operators' menu

admin =
    <b>The shop</b>

    { $sales }
admin-sales-on = Sales are on.
admin-sales-off = Sales are paused since { $since } UTC by { $by }: { $reason }
admin-day = Today
admin-queue = Queue
admin-providers = Providers
admin-find = Find a customer
admin-pause = Pause sales
admin-resume = Resume sales
admin-back = ‹ Menu
admin-again = ↻ Refresh
admin-second-button = Second word: { $what }

## Looking

admin-day-page =
    <b>Today</b> (since { $since } UTC)

    New customers: { $customers }
    Orders: { $orders }, videos in them: { $videos }
    Delivered: { $delivered }
    Refunded: { $refunded }
    Revenue: { $paid } = ${ $revenue }
    Gifts used: { $gifts }
    Providers' cost: ${ $cost }
    Waiting now: { $waiting }, { $held } on hold
admin-queue-page =
    <b>Queue</b>

    Videos waiting: { $waiting }
    The oldest has waited: { $oldest }
    In work: { $running }
    Workers at it: { $workers }
    Last word from a worker: { $seen }
    Messages waiting: { $messages }, the oldest { $oldestmessage }
admin-never = never
admin-ago = { $span } ago
admin-providers-page =
    <b>Providers</b>

    { $keys }
admin-no-keys = No worker has named a key within a day.
admin-key = <b>{ $label }</b>: { $balance }, in flight { $inflight }, { $state }
admin-balance = ${ $usd }
admin-balance-units = { $units } units
admin-balance-unknown = balance not told
admin-state-good = works
admin-state-alone = left alone until { $until } UTC: { $why }
admin-state-rests = rests until { $until } UTC
admin-troubled-provider = { $name }: { $failures } failures in a row, { $state }
admin-troubled-model = { $name }: { $state }

## Finding

admin-ask-customer = Write a Telegram id, an order number with # before it (#12), or an @name.
admin-nobody = Nobody is found by “{ $words }”.
admin-customer =
    <b>{ $name }</b> · <code>{ $id }</code>

    Available: { $available } (of which gifts: { $gifts })
    In work: { $held }
    Spent: { $spent }

    { $orders }
admin-no-orders = No orders yet.
admin-order-line = <b>No. { $number }</b> · { $at } · { $template } · { $videos }
admin-videos = in work { $inwork }, done { $completed }, without a video { $failed }
admin-order =
    <b>Order No. { $number }</b> · { $at } UTC

    { $template }
    Videos: { $count }, { $price } each
    { $videos }
admin-order-button = No. { $number }
admin-grant = Grant credits
admin-refund = Refund
admin-customer-button = ‹ Customer

## Acting

admin-ask-grant = How many credits does { $name } ({ $id }) get, and why? Write both in one message: <code>5 the first video was late</code>
admin-ask-refund = Why is order No. { $number } refunded? Write the reason; it is for the record.
admin-ask-pause = Why are sales paused? Write the reason; customers do not read it.
admin-ask-resume = Why do sales go on? Write the reason; it is for the record.
admin-no-amount = First a whole number of credits, from 1 to { $most }, then the reason.
admin-no-reason = The reason is missing.
admin-reason-too-long = The reason has { $length } characters; { $limit } are kept.
admin-nothing-to-refund = Nothing is left to refund: every video of order No. { $number } was paid back before.
admin-no-second = With this you would have moved more than { $limit } within a day: that needs a second operator, but only one is listed in OPERATORS.
admin-confirm =
    <b>Sure?</b>

    { $what }
    Reason: { $reason }
admin-confirm-second =
    <b>A second word is needed</b>

    { $what }
    Reason: { $reason }
    Asked by: { $by }
admin-what-grant = Grant { $credits } to { $subject }
admin-what-refund = Refund order No. { $subject } ({ $credits })
admin-what-pause = Pause sales
admin-what-resume = Resume sales
admin-yes = Yes, do it
admin-no = No
admin-dropped = Nothing was done.
admin-done =
    ✓ { $what }
    Reason: { $reason }
admin-done-before = It was done before; nothing was done twice.
admin-changed-nothing = It was so already; nothing changed.
admin-refunded = Paid back now: { $videos ->
    [one] one video
   *[other] { $videos } videos
}, { $credits }.
admin-refunded-before = Paid back before: { $videos }.
admin-on-their-way = Finished and not handed over yet: { $videos }. These are paid back when they cannot be delivered; once they have arrived you can refund them.
admin-second-asked = More than { $limit } within a day: another operator has to confirm it. They were asked; it also stands in their /admin. It can be confirmed for 24 hours.
admin-refused-unknown = This button no longer works. Nothing was done.
admin-refused-old = It was asked too long ago. Nothing was done: ask again.
admin-refused-foreign = Another operator asked for this and has not confirmed it. Nothing was done.
admin-refused-same = Another operator than you has to confirm it. Nothing was done.
admin-refused-no-customer = There is no such customer. Nothing was done.
admin-refused-no-order = There is no such order. Nothing was done.
