# Checks XML files by python3-xmlschema. Arguments: the schema, and the files. Prints one line for each
# file that does not follow the schema.
import sys
import xmlschema

schema = xmlschema.XMLSchema(sys.argv[1])
for file in sys.argv[2:]:
    for error in schema.iter_errors(file):
        print(file, error.path, error.reason)
