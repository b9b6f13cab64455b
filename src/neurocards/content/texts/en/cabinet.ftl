## The cabinet

cabinet =
    <b>Your cabinet</b>

    { balance }
    Made: { videos }
balance =
    Available: { $available }
    In work: { $held }
    Spent: { $spent }
cabinet-videos = My videos
cabinet-statement = Statement
cabinet-language = Language
cabinet-new-video = New video
cabinet-back = ‹ Back to cabinet
page-newer = ‹ Newer
page-older = Older ›
page-of = Page { $page } of { $pages }

## The statement

statement =
    <b>Statement</b>
    Available now: { $available }
statement-empty = Nothing has happened yet.
statement-day = <b>{ $day }</b>
statement-line = <b>{ $change }</b> · { $words }
change-more = +{ $credits }
change-less = −{ $credits }
change-none = ✓
line-welcome = welcome gift
line-gift = gift
line-top-up = top-up
line-withdrawal = taken off your balance
line-because = { $words }: { $reason }
line-hold = set aside for { $order }
line-settle = paid for { $order }: { $credits } of what was set aside
line-refund = came back for { $order }: { $reason }
line-reversal = payment returned for { $order }: { $reason }
line-order = order No. { $number }
line-order-of-many = order No. { $number }, video { $ordinal } of { $total }
failure-briefly-customer = you cancelled it
failure-briefly-provider = the service failed
failure-briefly-content = the service refused it by its rules
failure-briefly-photo = the photo could not be used
failure-briefly-result = the clip came out flawed
failure-briefly-model = the service makes no such videos any more
failure-briefly-delivery = the video could not be handed over
failure-briefly-deadline = it took too long
failure-briefly-operator = we paid it back
failure-briefly-internal = our own fault
date = { $day } { $month ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
}
date-of-year = { date } { $year }

## My videos

my-videos = <b>My videos</b>
my-videos-empty = There are no finished videos yet. Send a photo of your product and we make the first one.
my-videos-hint = Tap a number and I send the video again.
video-line = { $video } · { $template } · { $date } · { $length }
video-line-forgotten = { $video } · { $template } · { $date } · { $length } · no longer kept
video-button = ▶ { $video }
video-number = No. { $number }
video-number-of-many = No. { $number }, video { $ordinal } of { $total }
video-length = { $seconds } s
video-again = Sending…
video-forgotten = This video is no longer kept: old videos are removed after a while. It is still in this chat, where it was sent.
template-gone = Former template

## Help

help =
    <b>How it works</b>

    1. Send a photo of your product.
    2. Choose a template and describe the product.
    3. Say how many videos to make, and confirm the order.
    4. A few minutes later you get a vertical video ({ $length }).
    5. All your videos and every credit are in /cabinet.

    <b>What it costs</b>
    One video: { $price }. You see the price before you confirm. If a video does not work out, the credits come back by themselves.

    <b>If something goes wrong</b>
    Tap /start: we go on where we were.
help-price = { $price } ({ $template })
help-support = Still stuck? Write to { $support } and name the order number: it is on the order's card and below the video.
