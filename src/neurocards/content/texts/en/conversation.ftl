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
size-with-model = { $size } · { $model }
videos-of-seconds = { $videos ->
    [1] 1 video, { $length }
   *[other] { videos }, { $length } each
}

## The bot's profile

bot-name = neurocards: photo to video
bot-description =
    Send a photo of your product and get a short vertical video for its marketplace page.

    You see the price first and never pay for a failure.
bot-about = Short marketplace videos from product photos.
command-start = Begin or go on
command-cabinet = Cabinet: balance, statement, my videos
command-help = How it works
command-language = Язык / Language
command-cancel = Forget the order I began

## Meeting

consent =
    Hello! I turn a product photo into a short vertical video for its marketplace page.

    To make a video I pass the photo and the description on to services that write the script and create the clip. Please send pictures you have the rights to.

    If that suits you, tap the button.

    <i>Terms, version { $version }</i>
agreed-already = You have agreed already.
consent-agree = I agree, let's start
welcome =
    Nice to meet you! You have { $gift } as a gift.

    Send a photo of your product: one, sharp, the whole product in the frame.
language = На каком языке говорим? / Which language do you prefer?
language-ru = Русский
language-en = English
language-set = We speak English
apology = Sorry, I could not handle your last message. Your credits and orders are safe: nothing is charged twice. Please try again.

## Photo

ask-photo = Send a photo of your product: one, sharp, the whole product in the frame.
ask-second-photo = <b>{ $template }</b>. { $wanted }
second-photo-wanted = Send the second photo: the video ends with it.
second-photo-taken = The second photo is fine!
photo-fault-empty = The file is empty: please send the photo again.
photo-fault-not-an-image = This does not look like a picture: please send a photo as JPEG, PNG or WebP.
photo-fault-truncated = The file did not arrive whole: please send the photo again.
photo-fault-animated = This is an animation, and I need one still picture: please send an ordinary photo.
photo-fault-heic = HEIC and AVIF will not do: send a photo, not a file (Telegram converts it), or set Settings → Camera → Formats → Most Compatible.
photo-fault-unsupported = I do not read this format yet: save the photo as JPEG, PNG or WebP and send it again.
photo-fault-too-many-bytes = The file is larger than 20 MB: send it as a photo instead of a file, or make it smaller.
photo-fault-too-many-pixels = The picture has too many pixels: send it as a photo instead of a file, or make it smaller.
photo-fault-too-heavy = This file takes too much work to open: save the photo as an ordinary JPEG and send it again.
photo-fault-too-small = The photo is too small: its short side needs at least 300 pixels.
photo-fault-too-long = The photo is too long and narrow: the long side may be three times the short one at most.
album-first-only = I took the first good photo of the album; should a second one be needed, I will ask for it.
album-first-good = Of the album I took the first good one.
album-first-two = Of the album I took the first two good ones.
words-noted = I have noted the description.
words-added = I have added that to the description.
words-too-long = The text with the photo is longer than { $limit } characters, so I did not take it: please describe the product shorter when I ask.
edit-not-taken = The description stays as it was: an edit of that message does not change it. To replace the description, go back to it with the button.
description-replaced = I have replaced the description with the new one.
extension-too-long = Together that would be { $length } of { $limit } characters: please add less, or replace the whole text.

## When something else comes

kind-text = Text is of no use just yet.
kind-command = I have no such command.
kind-sticker = A nice sticker, but I cannot work with it.
kind-video = I make the videos myself, from a photo.
kind-animation = An animation will not do: I need one still picture.
kind-voice = I do not listen to voice messages.
kind-location = No address needed: the video comes right here.
kind-contact = I do not need any contacts.
kind-other = I cannot work with a message like this.

## Questions

photo-taken = The photo is fine!
photo-anew = The photo is fine! { earlier-forgotten }
earlier-forgotten = The unfinished order is forgotten, we begin a new one.
photo-kept = { $photos ->
    [one] The earlier photo stays.
   *[other] The earlier photos stay.
}
photo-after-consent = I have not taken this photo yet: please send it after you have agreed.
order-in-work = Order No. { $number } is in work: the video will come here by itself.
choose-template =
    What kind of video shall it be?

    { $templates }
template-line = <b>{ $name }</b>: { $about }
template-line-with-price = <b>{ $name }</b> · { $price }: { $about }
template-ugc_blogger-name = Blogger
template-ugc_blogger-about = a person shows the product, like in a phone review.
template-ugc_blogger-sample = A steel travel mug that keeps coffee hot for six hours.
template-hero_broll-name = Hero shot
template-hero_broll-about = an advertising shot, the camera glides around.
template-hero_broll-sample = Olive oil in a bottle of dark green glass with a cork.
template-hero_push_in-name = Getting closer
template-hero_push_in-about = the camera rides slowly up to the product.
template-hero_push_in-sample = Wireless headphones: matt white, with soft ear cushions.
template-lifestyle-name = In real life
template-lifestyle-about = where it is used.
template-lifestyle-sample = A linen tablecloth, sand-coloured, for breakfast in the garden.
template-texture_macro-name = Texture
template-texture_macro-about = the material from very near, with its sound.
template-texture_macro-sample = A chunky merino throw: soft, springs back under the hand.
template-unboxing-name = Unboxing
template-unboxing-about = hands unpack it; best if the photo shows the box.
template-unboxing-sample = A set of three scented candles in a gift box.
template-seasonal-name = For the season
template-seasonal-about = snow, lights or petals; name the holiday.
template-seasonal-sample = A mug with a deer, a present for New Year.
template-turntable_arc-name = Turn
template-turntable_arc-about = needs two photos of different sides.
template-turntable_arc-sample = A leather backpack, cognac brown, with two front pockets.
template-turntable_arc-second-photo = Send the second photo: the same product from another side, on a similar background. The video begins with the first photo and ends with the second.
template-before_after-name = Before / after
template-before_after-about = needs two photos, without people.
template-before_after-sample = Boxes of grey felt: a wardrobe shelf before and after.
template-before_after-second-photo = Send the second photo: how it looks afterwards, taken from the same spot. The first one will be the "before"; if it is the other way round, return to it with "Back".
template-own_prompt-name = My own script
template-own_prompt-about = you describe what happens in the frame.
template-own_prompt-sample = The camera circles a teapot slowly, steam rises, a hand lifts the lid.
ask-description =
    <b>{ $template }</b>. Describe the product: what it is, what it is made of, what is good about it.

    For example: <i>{ $sample }</i>

    Up to { $limit } characters.
ask-scenario =
    <b>{ $template }</b>. Describe what should happen in the video: the action, the camera, the mood.

    For example: <i>{ $sample }</i>

    Up to { $limit } characters.
ask-wishes =
    Any wishes for the video? For example the background colour, the place, the mood.

    Up to { $limit } characters, or skip.
ask-script =
    Your script:
    <blockquote>{ $script }</blockquote>
    Shall we shoot it like this? To extend it, just write more.
ask-extension = What shall I add? Write it, and I put it at the end of the script.
script-approve = Approve
script-extend = Extend
script-replace = Replace
ask-count = How many videos shall I make? Each one will be a little different.
count-option = { videos } · { $price }
too-long = That is { $length } of { $limit } characters: please make it a little shorter.
skip = Skip
confirm = Confirm
cancel = Cancel
back = ‹ Back
fewer = Choose fewer videos
chosen-template = Template: <b>{ $template }</b>
chosen-wishes = Wishes: none
chosen-script = The script is approved.
chosen-count = Amount: <b>{ $size }</b>
cancelled = All right, the order you began is forgotten, nothing was charged. Whenever you want a new one, send a photo of your product.
nothing-to-cancel = There is nothing to cancel. Send a photo of your product and we begin.
awaiting-photo = Please send a photo of your product: one, sharp, the whole product in the frame.
awaiting-template = Right now, please choose a template with a button.
awaiting-second_photo = Right now I am waiting for the second photo.
awaiting-description = Right now I am waiting for the description as text.
awaiting-wishes = Right now I am waiting for your wishes as text, or tap "Skip".
awaiting-script = Right now, please approve the script with the button, or write what to add.
awaiting-count = Right now, please choose with a button how many videos to make.
awaiting-confirmation = The order is complete: please confirm it with the button, or cancel it.

## The order's card

card =
    <b>Please check your order</b>

    Template: <b>{ $template }</b>
    Description: { $description }
    Wishes: { $wishes }
    Amount: { $size }

    Price: <b>{ $price }</b>
    { $money }
card-script =
    <b>Please check your order</b>

    Template: <b>{ $template }</b>
    Script: { $description }
    Amount: { $size }

    Price: <b>{ $price }</b>
    { $money }
card-no-wishes = none
card-two-photos = Photos: two, from this one to the second
card-balance = Your balance: { $available }, left afterwards: { $left }.
card-missing =
    Your balance: { $available }. Missing: <b>{ $missing }</b>.
    Your order is kept: confirm it when there are enough credits, or choose fewer videos.
card-top-up = Top up: { $support }
price-changed = The price changed while the card was waiting. Nothing was charged: here is a card with the new price.
price-changed-alert = The price has changed. Nothing was charged, a new card is below.
not-enough = Missing: { $missing }. Needed: { $price }, available: { $available }. Nothing was charged, your order is kept.
sales-paused = We are taking no new orders for a little while. Nothing was charged and your order is kept: please confirm it later. What was ordered goes on.
card-paused = We are taking no new orders for a little while. This order is kept: please confirm it later.
closed = Nobody can make this video right now. Nothing was charged, your order is kept: please confirm it later.
closed-for = The studio that makes the videos is closed right now and should be back in about { $minutes ->
    [one] a minute
   *[other] { $minutes } minutes
}. Nothing was charged, your order is kept: please confirm it then.
too-many-open = You have many videos in work already: you can order again when some of them are ready. Nothing was charged, your order is kept.
placed = Order No. { $number } is accepted, here we go!
already-placed = This is order No. { $number }: it was accepted before, nothing was charged a second time.
order-forgotten = The photo and words of this order are no longer kept: they are deleted after a while. Send the photo again and we begin anew.
outdated = This button no longer works. Nothing was changed or charged.
try-again = A short hiccup. Please tap again in a moment: nothing will be charged twice.
