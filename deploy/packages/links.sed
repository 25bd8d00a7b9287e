# Links of README.md, deploy/README.md and deploy/docs/*.md as they are where the
# package puts these: the pages into /usr/share/doc/sekimori, what is below
# deploy into examples beside them. What is not shipped loses its link.
s#\]\(\.\./\.\./README\.md#](README.md#g
s#\]\(\.\./\.\./configs/#](examples/#g
s#\]\(\.\./console\.png#](console.png#g
s#\]\(\.\./([A-Za-z])#](examples/\1#g
s#\]\(deploy/docs/#](#g
s#\]\(deploy/#](examples/#g
s#\]\(docs/#](../#g
s#\[([^]]*)\]\((internal|\.github)/[^)]*\)#\1#g
