<?php
// SPDX-License-Identifier: Apache-2.0
// A warm PHP: started as `php main.php` with this as auto_prepend_file, in its pod ahead of demand. PHP has opened main.php,
// which is empty, and reads it when this has ended; so it waits here until the program is written there. See
// worker/runner/mediator.h.
(static function () {
    $status = fopen('php://fd/8', 'wb');
    fwrite($status, 'r');
    fclose($status);
    $job = file_get_contents('php://fd/7');
    if ($job === '') exit(0);
    $texts = explode("\0", $job);
    $args = array_slice($texts, 1, (int)$texts[0]);
    $env = [];
    foreach (array_slice($texts, 1 + (int)$texts[0], -1) as $variable) {
        [$name, $value] = explode('=', $variable, 2);
        $env[$name] = $value;
    }
    foreach (getenv() as $name => $value) if (!isset($env[$name])) putenv($name);
    foreach ($env as $name => $value) putenv("$name=$value");
    // What is a variable of the environment in $_SERVER is what has a name that the environment had.
    $now = microtime(true);
    $own = ['PHP_SELF', 'SCRIPT_NAME', 'SCRIPT_FILENAME', 'PATH_TRANSLATED', 'DOCUMENT_ROOT'];
    $_SERVER = $env + array_intersect_key($_SERVER, array_flip($own)) +
        ['REQUEST_TIME_FLOAT' => $now, 'REQUEST_TIME' => (int)$now];
    $GLOBALS['argv'] = $_SERVER['argv'] = array_merge(['main.php'], $args);
    $GLOBALS['argc'] = $_SERVER['argc'] = count($args) + 1;
})();
