# Words for customers. Markup: Telegram's HTML. Amounts arrive as ready words: "3 credits".

credits = { $credits ->
    [one] { $credits } credit
   *[other] { $credits } credits
}
seconds = { $seconds ->
    [one] { $seconds } second
   *[other] { $seconds } seconds
}
videos = { $videos ->
    [one] { $videos } video
   *[other] { $videos } videos
}
videos-of-seconds = { videos }, { $length } each

## The bot's profile

bot-description =
    Send a photo of your product and get a short vertical video for its marketplace page.

    You see the price first and never pay for a failure.
bot-about = Short marketplace videos from a single product photo.
command-start = Begin or go on
command-balance = How many credits I have
command-language = Язык / Language
command-cancel = Forget the order I began

## Meeting

consent =
    Hello! I turn a product photo into a short vertical video for its marketplace page.

    To make a video I pass the photo and the description on to services that write the script and create the clip. Please send pictures you have the rights to.

    If that suits you, tap the button.
consent-agree = I agree, let's start
welcome =
    Nice to meet you! You have { $gift } as a gift.

    Send a photo of your product: one, sharp, the whole product in the frame.
language = На каком языке говорим? / Which language do you prefer?
language-ru = Русский
language-en = English
language-set = We speak English
balance =
    <b>Your balance</b>

    Available: { $available }
    In work: { $held }
    Spent: { $spent }
apology = Sorry, I could not handle your last message. Your credits and orders are safe: nothing is charged twice. Please try again.

## Photo

ask-photo = Send a photo of your product: one, sharp, the whole product in the frame.
photo-fault-empty = The file is empty: please send the photo again.
photo-fault-not-an-image = This does not look like a picture: please send a photo as JPEG, PNG or WebP.
photo-fault-truncated = The file did not arrive whole: please send the photo again.
photo-fault-animated = This is an animation, and I need one still picture: please send an ordinary photo.
photo-fault-unsupported = I do not read this format yet: save the photo as JPEG, PNG or WebP and send it again.
photo-fault-too-many-bytes = The file is larger than 20 MB: send it as a photo instead of a file, or make it smaller.
photo-fault-too-many-pixels = The picture has more than 50 megapixels: send it as a photo instead of a file, or make it smaller.
photo-fault-too-small = The photo is too small: its short side needs at least 300 pixels.
photo-fault-too-long = The photo is too long and narrow: the long side may be three times the short one at most.
not-photo-text = To begin I need a photo of your product, not text: please send it as a picture.
not-photo-sticker = A lovely sticker, but for a video I need a photo of your product.
not-photo-video = This is a video already, and I need a photo of your product: I make the clip from it.
not-photo-animation = This is an animation, and I need one still picture: please send an ordinary photo.
not-photo-voice = I do not listen to voice messages: please send a photo of your product.
not-photo-other = I cannot make a video from this: please send a photo of your product.
album-first-only = I took the first photo of the album: one order needs one photo.

## Questions

choose-template =
    The photo is fine! What kind of video shall it be?

    { $templates }
template-line = <b>{ $name }</b>: { $about }
template-ugc_blogger-name = Blogger
template-ugc_blogger-about = a person holds the product and shows it to the camera, like in a phone review.
template-hero_broll-name = Hero shot
template-hero_broll-about = an advertising shot: the camera glides toward the product, light moves across it.
template-own_prompt-name = My own script
template-own_prompt-about = you describe what happens in the frame.
ask-description =
    <b>{ $template }</b>. Describe the product: what it is, what it is made of, what is good about it.

    Up to { $limit } characters.
ask-scenario =
    <b>{ $template }</b>. Describe what should happen in the video: the action, the camera, the mood.

    Up to { $limit } characters.
ask-wishes =
    Any wishes for the video? For example the background colour, the place, the mood.

    Up to { $limit } characters, or skip.
ask-count = How many videos shall I make? Each one will be a little different.
count-option = { videos } · { $price }
too-long = That is { $length } of { $limit } characters: please make it a little shorter.
skip = Skip
confirm = Confirm
cancel = Cancel
cancelled = All right, the order you began is forgotten. Whenever you want a new one, send a photo of your product.
nothing-to-cancel = There is nothing to cancel. Send a photo of your product and we begin.
awaiting-template = Right now, please choose a template with a button.
awaiting-description = Right now I am waiting for the description as text.
awaiting-wishes = Right now I am waiting for your wishes as text, or tap "Skip".
awaiting-count = Right now, please choose with a button how many videos to make.
awaiting-confirmation = The order is complete: please confirm it with the button, or cancel it.

## The order's card

card =
    <b>Please check your order</b>

    Template: { $template }
    Description: { $description }
    Wishes: { $wishes }
    Amount: { $size }

    Price: <b>{ $price }</b>
    { $money }
card-no-wishes = none
card-balance = Your balance: { $available }, left afterwards: { $left }.
card-missing = Your balance: { $available }. Missing: { $missing }.
price-changed = The price changed while the card was waiting. Nothing was charged: here is a card with the new price.
price-changed-alert = The price has changed. Nothing was charged, a new card is below.
not-enough = Missing: { $missing }. Needed: { $price }, available: { $available }. Nothing was charged, your order is kept.
placed = Order No. { $number } is accepted, here we go!
already-placed = Order No. { $number } is already in work.
outdated = This button no longer works. Nothing was changed or charged.
try-again = A short hiccup. Please tap again in a moment: nothing will be charged twice.

## An order on its way

status-title = <b>Order No. { $number }</b> · { $template }
stage-accepted = waiting for its turn
stage-prompt = writing the script
stage-generating = creating the video
stage-checking = checking the quality
stage-sending = sending it to you
stage-finished = done
stage-undelivered = done, but it could not be sent: we are looking into it
stage-failed = did not work out, returned to your balance: { $credits }
status-cheer = This usually takes a few minutes. You can close the chat: the video will come by itself.
status-summary = <b>Done: { $delivered } of { $total }.</b>
status-charged = Charged: { $credits }.
status-refunded = Returned: { $credits }.
caption = Order No. { $number } · { $template }
caption-of-many = Order No. { $number } · { $template } · video { $ordinal } of { $total }

## Failure

failure =
    Order No. { $number }: the video did not work out.

    { $reason }

    Returned to your balance: { $credits }. Available now: { $available }.
failure-of-many =
    Order No. { $number }: video { $ordinal } of { $total } did not work out.

    { $reason }

    Returned to your balance: { $credits }. Available now: { $available }.
failure-provider = The service that creates the videos failed several times in a row. Please try again a little later: just send the photo again.
failure-content = The service refused this photo or text by its own rules. Try another photo, or describe the product differently.
failure-photo = This photo could not be used. Please send another one: sharp, with the whole product in the frame.
failure-result = The clip came out flawed, so we did not hand it over. Please order again: the second time it usually works.
failure-model = The service does not make such videos any more. We are bringing in another one: please try again later.
failure-delivery = The video was ready, but it could not be handed over in the chat: our own fault. Please order again.
failure-deadline = It took too long, so we stopped. Please try again a little later.
failure-internal = This is our own fault, and we are looking into it. Please try again.
