## An order on its way

status-title = <b>Order No. { $number }</b> · { $template }
stage-accepted = waiting for its turn
stage-prompt = writing the script
stage-generating = creating the video
stage-delayed = waiting for the studio
stage-checking = checking the quality
stage-sending = sending it to you
stage-finished = done
stage-undelivered = done, but it could not be sent: we are looking into it
status-failed = did not work out: { $reason }
status-cancelled = cancelled
cancel-order = Cancel the order
status-ahead = { $ahead ->
    [0] You are next in the queue.
    [100] More than a hundred videos are before you in the queue.
    [one] One video is before you in the queue.
   *[other] { $ahead } videos are before you in the queue.
}
usual-seconds = Usually ready in { $low }–{ $high } seconds (based on the last { $measured } videos).
usual-minutes = Usually ready in { $low }–{ $high } { $high ->
    [one] minute
   *[other] minutes
} (based on the last { $measured } videos).
status-delayed = The studio that makes the videos is not answering right now. Your order waits and goes on by itself; if it is not done in time, your credits come back.
status-replaced = Made by { $other } instead of { $model }. The price stays the same.
status-late = This takes longer than usual, and we are watching it. If it is not done in time, your credits come back by themselves.
status-cheer = You can close the chat: the video will come by itself.
status-summary = <b>Done: { $delivered } of { $total }.</b>
status-charged = Charged: { $credits }.
status-refunded = Returned: { $credits }.
repeat-product = Once more with this product
repeat-all = Same again
repeat-photo = Another photo
repeat-words = Another description
original = Original as a file
sending-file = Sending the file…
maybe-repeated = (Sent once more: the connection had broken off.)
video-gone = The video of order No. { $number } cannot be sent any more: the file is gone. Write us the order number and we look into it.
caption = Order No. { $number } · { $template }
caption-of-many = Order No. { $number } · { $template } · video { $ordinal } of { $total }

## Cancelling

order-cancelled =
    Order No. { $number } is cancelled.

    Back on your balance: { $credits }. Available now: { $available }.
order-cancelled-partly =
    Order No. { $number }: { $cancelled } of { $total } videos are cancelled. What is already being made comes as soon as it is ready.

    Back on your balance: { $credits }. Available now: { $available }.
order-cancelled-briefly = The order is cancelled, the credits are back.
cancelled-partly = Videos cancelled: { $cancelled }. Already being made: { $kept }; that cannot be cancelled. Should a video fail, the credits come back by themselves.
cancel-too-late = The video is being made already and cannot be cancelled. Should it fail, the credits come back by themselves.
cancel-nothing-left = The order has ended, there is nothing left to cancel.

## Failure

failure =
    Order No. { $number }: the video did not work out.

    { $reason }

    Returned to your balance: { $credits }. Available now: { $available }.
failure-of-many =
    Order No. { $number }: video { $ordinal } of { $total } did not work out.

    { $reason }

    Returned to your balance: { $credits }. Available now: { $available }.
failure-provider = The service that creates the videos failed several times in a row. Please try again a little later: I remember the photo and the description.
failure-content = The service refused this photo or text by its own rules. Try another photo, or describe the product differently.
failure-photo = This photo could not be used. Please send another one: sharp, with the whole product in the frame.
failure-result = The clip came out flawed, so we did not hand it over. Please order again: the second time it usually works.
failure-model = The service does not make such videos any more. We are bringing in another one: please try again later.
failure-delivery = The video was ready, but it could not be handed over in the chat: our own fault. Please order again.
failure-deadline = It took too long, so we stopped. Please try again a little later.
failure-operator = We have paid this video back to you.
failure-internal = This is our own fault, and we are looking into it. Please try again.
failure-customer = You cancelled this order.
