package svg

// tree has the elements of a document, to find out how many are drawn: "use" draws another element again,
// and ten levels of ten uses each would be drawn ten billion times.
type tree struct {
	nodes []node
	ids   map[string]int // by id, the first element that has it
	twice map[string]bool
	cost  []int // by element, how many elements are drawn for it; 0: not known yet, inWork: being counted
}

type node struct {
	children []int
	uses     string // the id of what the element repeats, or ""
	line     int
}

const inWork = -1

// add adds an element within another and returns its number. The root is within nil.
func (t *tree) add(around *frame) int {
	n := len(t.nodes)
	t.nodes = append(t.nodes, node{})
	if around != nil {
		t.nodes[around.node].children = append(t.nodes[around.node].children, n)
	}
	return n
}

func (t *tree) name(n int, id string) {
	if t.ids == nil {
		t.ids, t.twice = map[string]int{}, map[string]bool{}
	}
	if _, ok := t.ids[id]; ok {
		t.twice[id] = true
		return
	}
	t.ids[id] = n
}

func (t *tree) use(n int, id string, line int) { t.nodes[n].uses, t.nodes[n].line = id, line }

// check counts what is drawn.
func (t *tree) check(c *checker) {
	for _, n := range t.nodes {
		if n.uses != "" && t.twice[n.uses] {
			c.problemAt(n.line, "two elements have the id %s, to which use refers: give each an id of its own", named(n.uses))
		}
	}
	t.cost = make([]int, len(t.nodes))
	switch drawn, cycle := t.count(0); {
	case cycle != 0:
		c.problemAt(cycle, "use refers to an element that contains it: remove it")
	case drawn > maxDrawn:
		c.problemAt(0, "use repeats elements so often that %d or more are drawn: simplify the picture", maxDrawn)
	}
}

// count returns how many elements are drawn for one, at most maxDrawn+1, or the line of a "use" that
// refers to what it is in.
func (t *tree) count(n int) (drawn, cycle int) {
	if t.cost[n] > 0 {
		return t.cost[n], 0
	}
	t.cost[n] = inWork
	drawn = 1
	next := t.nodes[n].children
	if target, ok := t.ids[t.nodes[n].uses]; ok && t.nodes[n].uses != "" {
		if t.cost[target] == inWork {
			return 0, t.nodes[n].line
		}
		next = append(next[:len(next):len(next)], target)
	}
	for _, child := range next {
		d, cycle := t.count(child)
		if cycle != 0 {
			return 0, cycle
		}
		drawn = min(drawn+d, maxDrawn+1)
	}
	t.cost[n] = drawn
	return drawn, 0
}
