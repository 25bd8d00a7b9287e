# Changes the links of README.md, deploy/README.md and deploy/docs/*.md to the
# layout of the package: the pages are in /usr/share/doc/sekimori, and the other
# files of deploy in examples beside them. A link to a file that the package does
# not have becomes plain text.
s#\]\(\.\./\.\./README\.md#](README.md#g
s#\]\(\.\./\.\./configs/#](examples/#g
s#\]\(\.\./console\.png#](console.png#g
s#\]\(\.\./([A-Za-z])#](examples/\1#g
s#\]\(deploy/docs/#](#g
s#\]\(deploy/#](examples/#g
s#\]\(docs/#](../#g
s#\[([^]]*)\]\((internal|\.github)/[^)]*\)#\1#g
