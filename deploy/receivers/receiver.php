<?php
// Takes Comporta's deliveries and believes only genuine ones. PHP 7.4+, nothing to install.
//
// WEBHOOK_SECRET=whsec_… php -S 0.0.0.0:9000 receiver.php    or put it on any PHP hosting

declare(strict_types=1);

const TOLERANCE = 5 * 60; // seconds a delivery may be old: what is older may be a recording

/** Whether $body (after gzip) was signed with $secret, just now. See standardwebhooks.com. */
function verify(string $secret, array $server, string $body): bool
{
    $id = $server['HTTP_WEBHOOK_ID'] ?? '';
    $when = $server['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    if (!ctype_digit($when) || abs(time() - (int) $when) > TOLERANCE) {
        return false;
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret));
    $wanted = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$when.$body", $key, true));
    $genuine = false;
    // Several while a secret is being rotated.
    foreach (explode(' ', $server['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $given) {
        $genuine = hash_equals($wanted, $given) || $genuine;
    }
    return $genuine;
}

$secret = (string) getenv('WEBHOOK_SECRET');
if ($secret === '') { // an empty key is anybody's
    http_response_code(500);
    exit;
}
$body = file_get_contents('php://input');
if (($_SERVER['HTTP_CONTENT_ENCODING'] ?? '') === 'gzip') {
    $body = @gzdecode($body);
    if ($body === false) {
        http_response_code(400);
        exit;
    }
}
if (!verify($secret, $_SERVER, $body)) {
    http_response_code(401);
    exit;
}
$event = json_decode($body, true);
// Put it into a queue or table of yours and answer at once. The id is the same on every try:
// what you have already is a repetition.
file_put_contents('php://stdout', "{$event['id']} {$event['event']}\n");
http_response_code(204);
