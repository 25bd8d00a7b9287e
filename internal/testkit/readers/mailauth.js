// Reads a JSON array of Authentication-Results values, writes what mailauth sees in each.
'use strict';

const path = require('path');
const parse = require(path.join(process.argv[2], 'node_modules/mailauth/lib/parse-dkim-headers.js'));

let input = '';
process.stdin.on('data', chunk => (input += chunk));
process.stdin.on('end', () => {
    const out = JSON.parse(input).map(value => {
        try {
            const { parsed } = parse('Authentication-Results:' + value);
            const results = [];
            for (const method of ['spf', 'dkim', 'dmarc', 'arc', 'iprev', 'bimi']) {
                for (const one of [].concat(parsed[method] || [])) {
                    results.push([method, String(one.result || one.value || '').split(' ')[0]]);
                }
            }
            return { results };
        } catch (err) {
            return { error: String(err) };
        }
    });
    process.stdout.write(JSON.stringify(out));
});
